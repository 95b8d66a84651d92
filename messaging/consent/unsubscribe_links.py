"""The unsubscribe link in a marketing e-mail.

It names the message, not the address, so that it reveals nothing to others. It never
expires, because an e-mail may be opened after years: it works as long as the key that
signed it is in SECRET_KEY or SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

from django.conf import settings
from django.core.signing import BadSignature, Signer

# Not a module's name, though it looks like one: links already sent are signed with it.
SALT = "messaging.unsubscribe"


def unsubscribe_url(message_id: int) -> str:
    """The public URL for the recipient of this message."""
    return f"{settings.PUBLIC_URL}/unsubscribe/{_signer().sign_object(message_id)}/"


def message_id_in(token: str) -> int | None:
    """The message that a token names; None if we did not sign it."""
    try:
        message_id: int = _signer().unsign_object(token)
    except BadSignature:
        return None
    return message_id


def _signer() -> Signer:
    return Signer(salt=SALT, sep=".")  # a ":" is escaped in URLs
