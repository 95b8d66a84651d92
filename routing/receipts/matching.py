"""Which attempt a receipt is about. Provider, attempt and recipient must agree.

A reference is ours when our seal is on it, made for the very provider that brings it.
References that went out before there were seals have none: for some days after the
upgrade they count for messages that are older than it, if the provider of the attempt
and the recipient are those that the receipt names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from functools import reduce
from operator import or_
from typing import Generic, NamedTuple, Protocol, TypeVar

from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Q

from routing.models import MessageDeliveryAttempt
from routing.providers.base import Receipt
from routing.providers.registry import registry
from routing.receipts.inbox import Waiting, stored_text
from routing.receipts.webhook_counts import counter
from routing.reference import AttemptReference, has_seal, is_ours
from routing.text.recipient_keys import is_same_recipient
from routing.vocabulary import WebhookOutcome

UNSEALED_FOR = timedelta(days=7)  # after the upgrade; Vonage waits 72 h for a handset


class Disagreement(Enum):
    """Why a receipt that names a message of ours is not taken for one about it."""

    PROVIDER = "Its reference is that of a message of another provider."
    RECIPIENT = "Its recipient is not that of the message."
    NO_SEAL = "Its reference has no seal of ours."


class Match(NamedTuple):
    """The attempt that a receipt is about; without one, perhaps what speaks against it.

    With neither, it is of no message of ours: an account may be shared. One `is_busy`
    when somebody else has locked the message: it is to be looked at again.
    """

    about: AttemptReference | None = None
    disagreement: Disagreement | None = None
    is_busy: bool = False


def count_strays(
    waiting: Iterable[Waiting],
    matches: Mapping[int, Match],
    new: Collection[int],
    *,
    now: datetime,
) -> None:
    """Count new receipts that move nothing: somebody should see them.

    Not within a transaction.
    """
    for each in waiting:
        match = matches[each.pk]
        if match.about is not None or each.pk not in new:
            continue
        if match.disagreement is None:
            counter.count(each.provider, WebhookOutcome.UNMATCHED, now=now)
        else:
            why = match.disagreement.value
            counter.count(each.provider, WebhookOutcome.DISAGREES, detail=why, now=now)


class MessageFacts(Protocol):
    """What a receipt is held against."""

    @property
    def recipient(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def attempt_count(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...


M = TypeVar("M", bound=MessageFacts)


class Locked(NamedTuple, Generic[M]):
    """Messages by id, locked; and those that somebody else has locked."""

    messages: Mapping[int, M]
    busy: Collection[int] = ()


Lock = Callable[[Collection[int]], Locked[M]]
BUSY = Match(is_busy=True)


def match_all(
    waiting: Sequence[Waiting], *, lock: Lock[M], now: datetime
) -> tuple[dict[int, Match], dict[int, M]]:
    """The attempts that receipts are about, by `Waiting.pk`, and the messages by id.

    A receipt is matched by our reference or else by the provider's id. `lock` locks
    messages until the caller's transaction ends: their workers record before or after
    us.
    """
    references = {each.pk: _reference_of(each) for each in waiting}
    named = lock({about.message_id for about in references.values() if about})
    matches = {
        each.pk: _by_reference(each, references[each.pk], named, now)
        for each in waiting
    }
    nameless = [
        each
        for each in waiting
        if matches[each.pk].about is None and not matches[each.pk].is_busy
    ]
    attempts = _attempts_by_external_id(nameless)
    further = {about.message_id for about in attempts.values()}
    known = lock(further - named.messages.keys()) if further else Locked[M]({})
    messages = {**named.messages, **known.messages}
    found = Locked(messages, known.busy)
    for each in nameless:
        if about := attempts.get(_external_key(each)):
            match = _agreed(found, about, each.receipt)
            if match.about or match.disagreement or match.is_busy:
                matches[each.pk] = match
    return matches, messages


def _reference_of(waiting: Waiting) -> AttemptReference | None:
    """The attempt it names, unless its seal is of another provider or installation."""
    reference = waiting.receipt.reference
    about = AttemptReference.parse(reference)
    if about and has_seal(reference):
        return about if is_ours(reference, provider=waiting.provider) else None
    return about


def _by_reference(
    waiting: Waiting,
    about: AttemptReference | None,
    locked: Locked[M],
    now: datetime,
) -> Match:
    receipt = waiting.receipt
    if about is None:
        return Match(None, _whose(receipt.reference))
    if has_seal(receipt.reference):
        return _agreed(locked, about, receipt)
    if about.message_id in locked.busy:
        return BUSY
    message = locked.messages.get(about.message_id)
    if message is None:
        return Match()
    return _unsealed(locked, message, about, waiting, now)


def _whose(reference: str) -> Disagreement | None:
    """Another installation's, as a rule; or one that we gave to another provider."""
    is_stolen = has_seal(reference) and any(
        is_ours(reference, provider=name) for name in registry.names()
    )
    return Disagreement.PROVIDER if is_stolen else None


def _agreed(locked: Locked[M], about: AttemptReference, receipt: Receipt) -> Match:
    if about.message_id in locked.busy:
        return BUSY
    message = locked.messages.get(about.message_id)
    if message is None:
        return Match()
    named = receipt.recipient
    if named and not is_same_recipient(named, message.recipient):
        return Match(None, Disagreement.RECIPIENT)
    return Match(about)


def _external_key(waiting: Waiting) -> tuple[str, str]:
    return waiting.provider, stored_text(waiting.receipt.external_message_id, 200)


def _attempts_by_external_id(
    waiting: Iterable[Waiting],
) -> dict[tuple[str, str], AttemptReference]:
    """The first attempt that has the provider's id; one query for all."""
    keys = {key for each in waiting if (key := _external_key(each))[1]}
    by_provider: dict[str, list[str]] = {}
    for provider, external_id in keys:
        by_provider.setdefault(provider, []).append(external_id)
    if not by_provider:
        return {}
    wanted = reduce(
        or_,
        (
            Q(provider=provider, external_message_id__in=ids)
            for provider, ids in by_provider.items()
        ),
    )
    rows = (
        MessageDeliveryAttempt.objects.filter(wanted)
        .exclude(external_message_id="")  # as the index has it
        .values_list("provider", "external_message_id", "message_id", "attempt_number")
        .order_by("-message_id", "-attempt_number", "-is_late")
    )
    return {
        (provider, external_id): AttemptReference(message_id, number)
        for provider, external_id, message_id, number in rows
    }


def _unsealed(
    locked: Locked[M],
    message: M,
    about: AttemptReference,
    waiting: Waiting,
    now: datetime,
) -> Match:
    if not (waiting.receipt.recipient and _had_no_seal(message, now)):
        return Match(None, Disagreement.NO_SEAL)
    if waiting.provider not in _providers_of(message, about):
        return Match(None, Disagreement.PROVIDER)
    return _agreed(locked, about, waiting.receipt)


def _had_no_seal(message: MessageFacts, now: datetime) -> bool:
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


def _providers_of(message: MessageFacts, about: AttemptReference) -> set[str]:
    """Who has the attempt on record or, if it is not there yet, on the message."""
    attempts = MessageDeliveryAttempt.objects.filter(
        message=about.message_id, attempt_number=about.attempt_number
    )
    recorded = set(attempts.values_list("provider", flat=True))
    is_latest = about.attempt_number == message.attempt_count
    return recorded or ({message.provider} if is_latest else set())
