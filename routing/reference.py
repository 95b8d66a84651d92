"""Our own name for an attempt, sent to the provider and returned in its receipts.

It names message and attempt, so that a receipt finds them even before the provider's id
is recorded, and a late one is not mistaken for one of a later attempt. Its seal also
covers the provider, so that it cannot be guessed, and no provider can use another's.

At most 38 characters: Vonage takes 40 in an SMS.
"""

from __future__ import annotations

import hmac
import re
from binascii import b2a_base64
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from django.conf import settings

_PATTERN = re.compile(
    r"(m([1-9][0-9]{0,18})a([1-9][0-9]{0,4}))(?:\.([A-Za-z0-9_-]{11}))?"
)
# The limits of the columns; a larger number cannot be ours.
_MAX_MESSAGE_ID, _MAX_ATTEMPT_NUMBER = 2**63 - 1, 2**15 - 1
_SEAL_BYTES = 8
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class AttemptReference(NamedTuple):
    """Attempt `attempt_number` (from 1) of message `message_id`."""

    message_id: int
    attempt_number: int

    def __str__(self) -> str:
        return f"m{self.message_id}a{self.attempt_number}"

    @classmethod
    def parse(cls, text: str) -> AttemptReference | None:
        """Read a reference, ignoring its seal; None if it does not look like ours."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            return None
        message_id, number = int(match[2]), int(match[3])
        if message_id > _MAX_MESSAGE_ID or number > _MAX_ATTEMPT_NUMBER:
            return None
        return cls(message_id, number)

    def sealed(self, *, provider: str, key: bytes) -> str:
        """The reference as sent to this provider. Takes about 3 us per message."""
        name = str(self)
        return f"{name}.{_sealer(provider, key)(name)}"


def has_seal(reference: str) -> bool:
    """Whether it has a seal. References sent before there were seals have none."""
    match = _PATTERN.fullmatch(reference)
    return match is not None and match[4] is not None


def reference_for(message_id: int, attempt_number: int, *, provider: str) -> str:
    """The reference of an attempt, as sent to the provider."""
    key = _sealing_key(settings.SECRET_KEY, settings.INSTALLATION_ID)
    return AttemptReference(message_id, attempt_number).sealed(
        provider=provider, key=key
    )


def spellings_of(reference: str, *, provider: str) -> list[str]:
    """All references that the attempt may have been sent with, the current one first:
    sealed with a former key, or without a seal from before there were any.
    """
    about = AttemptReference.parse(reference)
    if about is None:
        return [reference]
    sealed = [about.sealed(provider=provider, key=key) for key in _keys()]
    return list(dict.fromkeys([reference, *sealed, str(about)]))


def is_ours(reference: str, *, provider: str) -> bool:
    """Whether this installation sealed it for this provider."""
    match = _PATTERN.fullmatch(reference)
    if match is None or match[4] is None:
        return False
    seals = [_sealer(provider, key)(match[1]) for key in _keys()]
    return any([hmac.compare_digest(match[4], seal) for seal in seals])  # noqa: C419


def _keys() -> list[bytes]:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [_sealing_key(secret, settings.INSTALLATION_ID) for secret in secrets]


@lru_cache(maxsize=16)
def _sealing_key(secret: str, installation: str) -> bytes:
    """The key of an installation, by which it recognizes its own references."""
    text = f"routing.reference\n{installation}\n{secret}"
    return blake2b(text.encode(), digest_size=32).digest()


@lru_cache(maxsize=64)
def _sealer(provider: str, key: bytes) -> Callable[[str], str]:
    """Makes the seals of a provider. The keyed hash is begun once: each message that is
    sent gets a seal.
    """
    begun, end = blake2b(key=key, digest_size=_SEAL_BYTES), f" {provider}".encode()

    def seal(name: str) -> str:
        digest = begun.copy()
        digest.update(name.encode() + end)
        return b2a_base64(digest.digest())[:11].translate(_URL_SAFE).decode()

    return seal
