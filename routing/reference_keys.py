"""References sealed by this installation, with keys derived from SECRET_KEY."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from routing.reference import AttemptReference, is_sealed_by, sealing_key

_key = lru_cache(maxsize=16)(sealing_key)


def reference_for(message_id: int, attempt_number: int, *, provider: str) -> str:
    """The reference of an attempt, as sent to the provider."""
    key = _key(settings.SECRET_KEY, settings.INSTALLATION_ID)
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
    return is_sealed_by(reference, provider=provider, keys=_keys())


def _keys() -> list[bytes]:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [_key(secret, settings.INSTALLATION_ID) for secret in secrets]
