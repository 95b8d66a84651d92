"""What the simulators call their own: port offsets, and credentials worth nothing.

Settings give these to the providers when PROVIDER_SIMULATOR_PORT is set.
"""

from __future__ import annotations

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# Each simulator listens at PROVIDER_SIMULATOR_PORT plus its offset.
PORT_OFFSETS = {"control": 0, "twilio": 1, "vonage": 2, "sendgrid": 3, "smtp": 4}

# They open nothing but a simulator, hence the marks for the linter (S105).
TWILIO_ACCOUNT_SID = "AC" + "5" * 32
TWILIO_AUTH_TOKEN = "simulated-twilio-token"  # noqa: S105
VONAGE_API_KEY = "simulated"
VONAGE_API_SECRET = "simulated-vonage-secret"  # noqa: S105
VONAGE_SIGNATURE_SECRET = "simulated-vonage-signature-secret-0123456789"  # noqa: S105
SENDGRID_API_KEY = "SG.simulated"
_SENDGRID_PRIVATE_NUMBER = 20261124


@cache
def sendgrid_private_key() -> ec.EllipticCurvePrivateKey:
    """The key that signs the simulated event webhook."""
    return ec.derive_private_key(_SENDGRID_PRIVATE_NUMBER, ec.SECP256R1())


@cache
def sendgrid_public_key() -> str:
    """Its public half as SendGrid shows it: base64 of the DER, without PEM lines."""
    der = (
        sendgrid_private_key()
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(der).decode()
