"""Which attempt a receipt is about. Provider, attempt and recipient must agree.

A reference is ours when our seal is on it, made for the very provider that brings it.
References that went out before there were seals have none: for some days after the
upgrade they count for messages that are older than it, if the provider of the attempt
and the recipient are those that the receipt names.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from django.db.migrations.recorder import MigrationRecorder

from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.providers.base import Receipt
from routing.providers.registry import registry
from routing.reference import AttemptReference, has_seal
from routing.reference_keys import is_ours
from routing.text.agreement import is_same_recipient

UNSEALED_FOR = timedelta(days=7)  # after the upgrade; Vonage waits 72 h for a handset


class Disagreement(Enum):
    """Why a receipt that names a message of ours is not taken for one about it."""

    PROVIDER = "Its reference is that of a message of another provider."
    RECIPIENT = "Its recipient is not that of the message."
    NO_SEAL = "Its reference has no seal of ours."


class Match(NamedTuple):
    """The attempt that a receipt is about; without one, perhaps what speaks against it.

    With neither, it is of no message of ours: an account may be shared.
    """

    about: AttemptReference | None
    disagreement: Disagreement | None = None


class _Message(NamedTuple):
    """What a receipt is held against."""

    recipient: str
    provider: str
    attempt_count: int
    created_at: datetime


def match(provider: str, receipt: Receipt, *, now: datetime) -> Match:
    """Find the attempt, by our reference or else by the provider's id.

    Locks the message: its worker records before or after us.
    """
    named = _by_reference(provider, receipt, now)
    if named.about is not None:
        return named
    known = _by_external_id(provider, receipt)
    return known if known.about or known.disagreement else named


def _by_reference(provider: str, receipt: Receipt, now: datetime) -> Match:
    about = AttemptReference.parse(receipt.reference)
    if about is None:
        return Match(None)
    is_sealed = has_seal(receipt.reference)
    if is_sealed and not is_ours(receipt.reference, provider=provider):
        return Match(None, _whose(receipt.reference))
    message = _locked(about)
    if message is None:
        return Match(None)
    if is_sealed:
        return _agreed(message, about, receipt)
    return _unsealed(message, about, provider, receipt, now)


def _by_external_id(provider: str, receipt: Receipt) -> Match:
    if not receipt.external_message_id:
        return Match(None)
    attempt = MessageDeliveryAttempt.objects.filter(
        provider=provider,
        external_message_id=stored_text(receipt.external_message_id, 200),
    ).first()
    if attempt is None:
        return Match(None)
    about = AttemptReference(attempt.message_id, attempt.attempt_number)
    message = _locked(about)
    return Match(None) if message is None else _agreed(message, about, receipt)


def _whose(reference: str) -> Disagreement | None:
    """Another installation's, as a rule; or one that we gave to another provider."""
    is_stolen = any(is_ours(reference, provider=name) for name in registry.names())
    return Disagreement.PROVIDER if is_stolen else None


def _agreed(message: _Message, about: AttemptReference, receipt: Receipt) -> Match:
    told = receipt.recipient
    if told and not is_same_recipient(told, message.recipient):
        return Match(None, Disagreement.RECIPIENT)
    return Match(about)


def _unsealed(
    message: _Message,
    about: AttemptReference,
    provider: str,
    receipt: Receipt,
    now: datetime,
) -> Match:
    if not (receipt.recipient and _had_no_seal(message, now)):
        return Match(None, Disagreement.NO_SEAL)
    if provider not in _providers_of(message, about):
        return Match(None, Disagreement.PROVIDER)
    return _agreed(message, about, receipt)


def _had_no_seal(message: _Message, now: datetime) -> bool:
    """Whether the message may have gone out without, and not too long ago."""
    since = _sealed_since()
    if since is None:
        return False
    return message.created_at <= since and now < since + UNSEALED_FOR


def _sealed_since() -> datetime | None:
    """When this installation was upgraded to references with seals."""
    applied = MigrationRecorder.Migration.objects.filter(
        app="routing", name__endswith="_webhook_counts"
    )
    return applied.values_list("applied", flat=True).first()


def _providers_of(message: _Message, about: AttemptReference) -> set[str]:
    """Who has the attempt on record or, if it is not there yet, on the message."""
    attempts = MessageDeliveryAttempt.objects.filter(
        message=about.message_id, attempt_number=about.attempt_number
    )
    recorded = set(attempts.values_list("provider", flat=True))
    is_latest = about.attempt_number == message.attempt_count
    return recorded or ({message.provider} if is_latest else set())


def _locked(about: AttemptReference) -> _Message | None:
    messages = DeliveryReceipt.message.field.related_model._default_manager
    rows = messages.select_for_update().filter(pk=about.message_id)
    found = rows.values_list(*_Message._fields).first()
    return found and _Message(*found)


def stored_text(text: str, limit: int) -> str:
    """At most `limit` characters, without what no database stores."""
    return text.replace("\0", "").encode(errors="replace").decode()[:limit]
