"""The simulators' port offsets and worthless credentials.

The credentials are those that each provider's class declares for its simulator.
"""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec

from routing.providers.sendgrid import SendGridEmail
from routing.providers.twilio import TwilioSMS
from routing.providers.vonage_account import SIMULATED_ACCOUNT

# Each simulator listens at PROVIDER_SIMULATOR_PORT plus its offset.
PORT_OFFSETS = {"control": 0, "twilio": 1, "vonage": 2, "sendgrid": 3, "smtp": 4}

_TWILIO = TwilioSMS.simulated_options(port=0)
TWILIO_ACCOUNT_SID: str = _TWILIO["ACCOUNT_SID"]
TWILIO_AUTH_TOKEN: str = _TWILIO["AUTH_TOKEN"]
VONAGE_API_KEY: str = SIMULATED_ACCOUNT["API_KEY"]
VONAGE_API_SECRET: str = SIMULATED_ACCOUNT["API_SECRET"]
VONAGE_SIGNATURE_SECRET: str = SIMULATED_ACCOUNT["SIGNATURE_SECRET"]
SENDGRID_API_KEY: str = SendGridEmail.simulated_options(port=0)["API_KEY"]
_SENDGRID_PRIVATE_NUMBER = 20261124  # of SIMULATED_PUBLIC_KEY in routing.providers


@cache
def sendgrid_private_key() -> ec.EllipticCurvePrivateKey:
    """The key that signs the simulated event webhook."""
    return ec.derive_private_key(_SENDGRID_PRIVATE_NUMBER, ec.SECP256R1())
