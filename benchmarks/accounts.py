"""Provider accounts for the environment of workers."""

from __future__ import annotations

from routing.providers.sendgrid import SIMULATED_PUBLIC_KEY
from routing.simulators import credentials

NOWHERE = "http://127.0.0.1:0"


def accounts(http: int = 0, smtp: int = 0) -> dict[str, str]:
    """Credentials for all providers of the default routes. Only one of them is called;
    the others have no server, so that no mistake leaves the machine.
    """
    return {
        "TWILIO_ACCOUNT_SID": "AC" + 32 * "0",
        "TWILIO_AUTH_TOKEN": credentials.TWILIO_AUTH_TOKEN,
        "TWILIO_FROM": "+15005550006",
        "TWILIO_BASE_URL": f"http://127.0.0.1:{http}",
        "VONAGE_API_KEY": "abcd1234",
        "VONAGE_API_SECRET": 16 * "2",
        "VONAGE_SIGNATURE_SECRET": credentials.VONAGE_SIGNATURE_SECRET,
        "VONAGE_FROM": "15005550007",
        "VONAGE_SMS_BASE_URL": f"http://127.0.0.1:{http}",
        "VONAGE_MESSAGES_BASE_URL": NOWHERE,
        "SENDGRID_API_KEY": "SG.0",
        "SENDGRID_WEBHOOK_VERIFICATION_KEY": SIMULATED_PUBLIC_KEY,
        "SENDGRID_BASE_URL": f"http://127.0.0.1:{http}",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp or 25),
        "SMTP_USE_TLS": "0",
        "SMTP_MAX_CONNECTIONS": "200",
        "EMAIL_FROM": "campaigns@example.com",
    }
