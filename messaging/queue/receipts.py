"""Applying receipts: what providers said becomes what is known of messages.

A receipt that was stored and is not applied yet is work in the queue, as a due message
is. Workers take many at once; what becomes of each message is worked out by pure
functions of `messaging.transitions`, and written together.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.models import Max
from django.dispatch import receiver

from messaging.consent.suppression import suppress
from messaging.models import (
    ERASED_RECIPIENT,
    Campaign,
    CampaignMessage,
    RetentionMark,
)
from messaging.queue.completion import reopen_campaign
from messaging.queue.coordination import notify_workers_now_and_then
from messaging.queue.quarantine import may_be_of_one_message
from messaging.receipts import NO_RETRIES, Hearing, Retries, hear_all
from messaging.reconciliation import mark_possible_duplicates
from messaging.transitions import MessageState, needs_outcomes, write
from messaging.vocabulary import CampaignStatus, SuppressionReason
from routing.decision.planner import stored_table
from routing.health.delivery_rates import Verdicts, note_verdicts
from routing.models import MessageDeliveryAttempt
from routing.providers.base import Receipt
from routing.providers.registry import registry
from routing.receipts import inbox
from routing.receipts.inbox import Key, Waiting
from routing.receipts.matching import Locked, Match, count_strays, match_all
from routing.receipts.news import News
from routing.receipts.parts import LOST
from routing.receipts.record import append, correct_costs, receipts_of
from routing.rules.tally import TallySheet
from routing.signals import receipts_stored
from routing.statistics.entries import save_counts
from routing.vocabulary import Channel

logger = logging.getLogger(__name__)

AT_ONCE = 500  # receipts per transaction


class Applied(NamedTuple):
    """How many receipts were done with, and how many of them were new."""

    done: int = 0
    new: int = 0


class Choice(NamedTuple):
    """Which of the receipts that wait; by default the oldest ones of all providers.

    Those that another worker is at, or whose message somebody has locked, are left for
    the next time, unless `is_patient`.
    """

    provider: str = ""
    event_ids: Collection[str] | None = None
    at_most: int = AT_ONCE
    is_patient: bool = False

    def take(self) -> list[Waiting]:
        """Lock them, within the caller's transaction."""
        return inbox.take(
            provider=self.provider,
            event_ids=self.event_ids,
            at_most=self.at_most,
            skip_locked=not self.is_patient,
        )


OLDEST = Choice()


def record_receipts(
    *, provider_name: str, receipts: Iterable[Receipt], raw: str, now: datetime
) -> int:
    """Store receipts and apply them at once; returns how many were new."""
    event_ids = inbox.store(
        provider_name=provider_name, receipts=receipts, raw=raw, now=now
    )
    choice = Choice(provider_name, event_ids, len(event_ids))
    return apply_receipts(choice, now=now).new


@receiver(receipts_stored)
def heed_stored_receipts(
    *, provider: str, urgent: Sequence[str], now: datetime, **_: object
) -> None:
    """Wake a worker; what must hold from the answer on is applied before it.

    One by one: who waits for several messages may wait in a circle.
    """
    for event_id in urgent:
        apply_receipts(Choice(provider, [event_id], is_patient=True), now=now)
    notify_workers_now_and_then()


def apply_receipts(choice: Choice = OLDEST, *, now: datetime) -> Applied:
    """Apply receipts that wait, the oldest first.

    Where a batch fails, each is applied alone, and one that fails alone is set aside.
    """
    try:
        return _apply(choice, now)
    except Exception as error:
        if not may_be_of_one_message(error):
            raise
        logger.exception("Receipts cannot be applied together.")
    keys = inbox.keys(
        provider=choice.provider, event_ids=choice.event_ids, at_most=choice.at_most
    )
    alone = [_apply_alone(each, choice, now) for each in keys]
    return Applied(sum(each.done for each in alone), sum(each.new for each in alone))


def _apply_alone(key: Key, choice: Choice, now: datetime) -> Applied:
    its_own = choice._replace(provider=key.provider, event_ids=[key.event_id])
    try:
        return _apply(its_own, now)
    except Exception as error:
        if not may_be_of_one_message(error):
            raise
        logger.exception("Receipt %s is set aside.", key.event_id)
        inbox.set_aside(key, f"{type(error).__name__}: {error}", now=now)
        return Applied(done=1)


def _apply(choice: Choice, now: datetime) -> Applied:
    """One transaction:

    1. take receipts out of the inbox, and find the attempts that they are about;
       messages are locked in the order of their ids
    2. put them on record; an event that is there already changes nothing
    3. work out what becomes of each message, receipt by receipt
    4. write messages, costs, statistics, marks and suppressions; delivery rates last,
       as workers wait for each other's
    """
    with transaction.atomic():
        taken = choice.take()
        if not taken:
            return Applied()
        lock = partial(_lock, skip_locked=not choice.is_patient)
        matches, messages = match_all(taken, lock=lock, now=now)
        waiting = [each for each in taken if not matches[each.pk].is_busy]
        new = append(waiting, matches)
        _write(_hear(waiting, matches, messages, new), messages, now=now)
        inbox.discard(waiting)
    count_strays(waiting, matches, new, now=now)
    return Applied(len(waiting), len(new))


def settle_late_acceptances(
    accepted: Mapping[int, int], sheet: TallySheet, *, now: datetime
) -> None:
    """Heed providers' acceptances that their workers could not record in time, as if a
    receipt said so. Within the caller's transaction. Rare.

    `accepted` are attempt numbers by message: one settles its message only if the
    attempt is the latest one.
    """
    states = [
        each
        for each in _lock(accepted, skip_locked=False).messages.values()
        if each.attempt_count == accepted[each.pk]
    ]
    ids = [each.pk for each in states]
    said, outcomes = receipts_of(ids), _outcomes_of(ids)
    retries, hearings = _retries_of(states), []
    for state in states:
        hearing = Hearing(
            state, outcomes.get(state.pk, {}), retries.get(state.pk, NO_RETRIES)
        )
        acceptance = News.of_acceptance(state.pk, accepted[state.pk], at=now)
        hearing.heed(
            acceptance,
            before=said.get(state.pk, ()),
            is_of_parts=_sends_per_part(state.provider),
        )
        hearings.append((state, hearing))
    write([(state, each.change) for state, each in hearings if each.change], sheet)
    _reopen(each for _, each in hearings)


def count_parts_again(counted: Mapping[int, int], *, now: datetime) -> None:
    """Settle messages whose receipts came before their number of parts was corrected.
    Must run last in the caller's transaction. This is rare.

    `counted` holds the previous number of parts, by message id.
    """
    messages = _lock(counted, skip_locked=False).messages
    said, outcomes = receipts_of(messages), _outcomes_of(messages)
    retries, hearings = _retries_of(messages.values()), []
    for pk, state in messages.items():
        if said.get(pk) and _sends_per_part(state.provider):
            hearing = Hearing(state, outcomes.get(pk, {}), retries.get(pk, NO_RETRIES))
            hearing.count_parts_again(said[pk], counted=counted[pk])
            hearings.append(hearing)
    if hearings:
        _write(hearings, messages, now=now)


def _lock(ids: Collection[int], *, skip_locked: bool) -> Locked[MessageState]:
    """Lock messages. Nobody is waited for, unless for the sake of a single one: so no
    two can wait for each other.
    """
    if not ids:
        return Locked({})
    rows = CampaignMessage.objects.filter(pk__in=ids)
    locked = rows.select_for_update(skip_locked=skip_locked, no_key=True).order_by("pk")
    found = {
        state.pk: state
        for state in map(MessageState._make, locked.values_list(*MessageState._fields))
    }
    if missing := {*ids} - found.keys():
        busy = rows.filter(pk__in=missing).values_list("pk", flat=True)
        return Locked(found, set(busy))
    return Locked(found)


def _hear(
    waiting: Sequence[Waiting],
    matches: Mapping[int, Match],
    messages: Mapping[int, MessageState],
    new: Mapping[int, int],
) -> list[Hearing]:
    """What the new receipts of each message come to."""
    receipts = {new[each.pk]: each.receipt for each in waiting if each.pk in new}
    ids = {
        about.message_id
        for each in waiting
        if each.pk in new and (about := matches[each.pk].about)
    }
    said = receipts_of(ids)
    tried_again = {
        pk
        for pk, news in said.items()
        for each in news
        if each.pk in receipts and needs_outcomes(messages[pk], each.attempt_number)
    }
    outcomes = _outcomes_of(tried_again)
    retries = _retries_of(
        messages[pk]
        for pk, news in said.items()
        if any(each.status in LOST for each in news)
    )
    per_part = {name: _sends_per_part(name) for name in {e.provider for e in waiting}}
    return [
        hear_all(
            messages[pk],
            news,
            receipts,
            outcomes=outcomes.get(pk, {}),
            retries=retries.get(pk, NO_RETRIES),
            per_part=per_part,
        )
        for pk, news in said.items()
    ]


def _sends_per_part(provider: str) -> bool:
    is_known = provider in registry.names()
    return is_known and registry.provider_class(provider).has_receipt_per_part


def _outcomes_of(message_ids: Collection[int]) -> dict[int, dict[int, int]]:
    """The outcomes of attempts as first recorded, by message and attempt number."""
    outcomes: dict[int, dict[int, int]] = {}
    if message_ids:
        attempts = MessageDeliveryAttempt.objects.filter(
            message__in=message_ids, is_late=False
        )
        for message, number, outcome in attempts.order_by().values_list(
            "message_id", "attempt_number", "outcome"
        ):
            outcomes.setdefault(message, {})[number] = outcome
    return outcomes


def _retries_of(messages: Iterable[MessageState]) -> dict[int, Retries]:
    """By message: the retry table, and how its attempts were refused. Those that must
    not be sent again are absent.
    """
    if not (states := list(messages)):
        return {}
    message_ids = _may_leave_again(states)
    table = stored_table()
    refused: dict[int, dict[int, int]] = {}
    attempts = MessageDeliveryAttempt.objects.filter(
        message__in=message_ids, is_late=False, error_class__isnull=False
    )
    for message, number, error_class in attempts.order_by().values_list(
        "message_id", "attempt_number", "error_class"
    ):
        refused.setdefault(message, {})[number] = error_class or 0
    return {pk: Retries(table, refused.get(pk, {})) for pk in message_ids}


def _may_leave_again(messages: Sequence[MessageState]) -> list[int]:
    """The ids of those whose campaign is not cancelled, and whose text and recipient
    are still stored, as far as we know.
    """
    newest = RetentionMark.objects.aggregate(at=Max("cleared_before"))["at"]
    campaigns = Campaign.objects.filter(pk__in={each.campaign_id for each in messages})
    over = campaigns.filter(status=CampaignStatus.CANCELLED)
    cancelled = set(over.values_list("pk", flat=True))
    return [
        each.pk
        for each in messages
        if each.campaign_id not in cancelled
        and not each.recipient.startswith(ERASED_RECIPIENT)
        and (newest is None or each.created_at >= newest)
    ]


def _write(
    hearings: Sequence[Hearing],
    messages: Mapping[int, MessageState],
    *,
    now: datetime,
) -> None:
    """Write what receipts come to. `messages` are as they stood before."""
    sheet = TallySheet()
    write(
        [(messages[each.message.pk], each.change) for each in hearings if each.change],
        sheet,
    )
    correct_costs([news for each in hearings for news in each.heard], sheet)
    save_counts(sheet)
    mark_possible_duplicates(
        [each.message.pk for each in hearings if each.may_have_arrived_twice], now=now
    )
    _reopen(hearings)
    _suppress(hearings)
    note_verdicts(_verdicts_of(hearings), now=now)


def _reopen(hearings: Iterable[Hearing]) -> None:
    """Reopen completed campaigns with messages that were queued again."""
    again = {each.message.campaign_id for each in hearings if each.is_queued_again}
    for campaign in sorted(again):
        reopen_campaign(campaign)


def _suppress(hearings: Iterable[Hearing]) -> None:
    addresses: dict[tuple[SuppressionReason, str], set[str]] = {}
    for each in hearings:
        for said in each.suppressed:
            addresses.setdefault(said, set()).add(each.message.recipient)
    for (reason, provider), recipients in sorted(addresses.items()):
        suppress(recipients, reason=reason, source=provider)


def _verdicts_of(hearings: Iterable[Hearing]) -> Verdicts:
    verdicts: Verdicts = Counter()
    for each in hearings:
        channel = Channel(each.message.channel)
        for provider, is_delivered in each.verdicts:
            for where in {"", each.message.country}:
                verdicts[provider, channel, where, is_delivered] += 1
    return verdicts
