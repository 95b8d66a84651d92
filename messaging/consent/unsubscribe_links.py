"""The link in a marketing e-mail by which its recipient says no.

It names the message and not the address, so that it tells nothing to who sees it, and
it never expires: an e-mail may be opened after years. It holds as long as SECRET_KEY,
or SECRET_KEY_FALLBACKS, has the key that signed it.
"""

from __future__ import annotations

from django.conf import settings
from django.core.signing import BadSignature, Signer

# No module's name, though it looks like one: links that went out were signed with it.
SALT = "messaging.unsubscribe"


def unsubscribe_url(message_id: int) -> str:
    """The public URL for the recipient of this message."""
    return f"{settings.PUBLIC_URL}/unsubscribe/{_signer().sign_object(message_id)}/"


def message_id_in(token: str) -> int | None:
    """The message that a token names; None when we did not make it."""
    try:
        message_id: int = _signer().unsign_object(token)
    except BadSignature:
        return None
    return message_id


def _signer() -> Signer:
    return Signer(salt=SALT, sep=".")  # a ":" is escaped in URLs
