"""Recovery: messages whose worker died, or whose verdict did not come in time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from messaging.models import CampaignMessage, WorkerHeartbeat
from messaging.queue.look_ups import can_be_asked_about
from messaging.queue.quarantine import (
    LOST_WORKER_CODE,
    WORKERS_LOST_AT_MOST,
    quarantine,
    quarantined_if_it_fails,
    workers_lost_with,
)
from messaging.transitions import (
    Attempt,
    Change,
    after_step,
    without_verdict,
    write,
)
from routing.decision.planner import RoutingTable
from routing.look_ups import first_look, providers_to_ask
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.rules.decide import (
    AwaitVerdict,
    Choices,
    DecisionContext,
    Round,
    Step,
    after_lost_worker,
)
from routing.rules.tally import TallySheet
from routing.statistics.entries import save_counts
from routing.vocabulary import AttemptOutcome, ErrorClass, MessageStatus

logger = logging.getLogger(__name__)

AT_MOST = 500  # messages per sweep: a short transaction, again in a second
LOST_WORKER = "The worker was lost with the message in flight."
POISONOUS = f"{WORKERS_LOST_AT_MOST} workers were lost with the message in flight."


def recover_expired_leases(
    *, routes: RoutingTable, verdict_wait: timedelta, now: datetime, rng: Random
) -> int:
    """Deal with messages that are Sending past their lease; returns how many.

    Messages in flight when their worker died get an Unknown attempt, then follow their
    route's policy for unknown outcomes; those that several workers died with are
    quarantined. Messages whose wait for a verdict is over fail, unless their provider
    can still be asked (`look_ups`).
    """
    at = DecisionContext(
        now=now, rng=rng, choices=Choices(()), jitter=0.0, verdict_wait=verdict_wait
    )
    with transaction.atomic():
        expired = list(
            CampaignMessage.objects.select_for_update(skip_locked=True, of=("self",))
            .lease_expired(now)
            .exclude(can_be_asked_about(now - verdict_wait, providers_to_ask()))
            .select_related("campaign")
            .order_by("lease_expires_at")[:AT_MOST]
        )
        lost = [message for message in expired if not message.is_outcome_unknown]
        overdue = [message for message in expired if message.is_outcome_unknown]
        sheet = TallySheet()
        _create_attempts(sheet, _unknown_attempts(lost, now))
        poisonous = _poisonous(lost)
        for message in lost:
            if message.pk in poisonous:
                quarantine(message, POISONOUS, now=now, unknown_since=now)
                continue
            with quarantined_if_it_fails(message, now=now, unknown_since=now):
                write([(message, _change(message, routes, at))], sheet)
        write(((each, without_verdict(each, now=now)) for each in overdue), sheet)
        save_counts(sheet)
    if lost:
        logger.warning("Recovered %d messages of lost workers.", len(lost))
    return len(expired)


def recover_attempts(*, since: datetime, until: datetime) -> int:
    """Record attempts whose worker died after a receipt had settled their message;
    returns how many.

    The receipt may be for the attempt itself, if it came before the worker recorded it:
    then the attempt was accepted. Or it may be for an earlier attempt while the latest
    was in flight: then the outcome of the latest is unknown. `since` and `until` bound
    the receipts' arrival; `until` is a lease ago, when every live worker has recorded.
    A receipt for an attempt that was never made does not count. If the message is still
    in flight, its worker records the attempt, or `recover_expired_leases` does.
    """
    found, overtaken = _receipts_without_attempt(since, until), _overtaken(since, until)
    if not found and not overtaken:
        return 0
    sheet = TallySheet()
    with transaction.atomic():
        _lock_messages({each.message_id or 0 for each in found}, overtaken)
        # Checked again: another worker may have recorded them before the lock.
        found = _receipts_without_attempt(since, until)
        overtaken = _overtaken(since, until)
        attempts: dict[tuple[int, int], MessageDeliveryAttempt] = {}
        for receipt in found:
            message, number = receipt.message, receipt.attempt_number
            if message is not None and number is not None:
                known = _attempt_of(receipt, message, number)
                attempts.setdefault((message.pk, number), known)
        for unknown in _unknown_attempts(overtaken, until):
            key = unknown.message_id, unknown.attempt_number
            attempts.setdefault(key, unknown)
        _create_attempts(sheet, list(attempts.values()))
        save_counts(sheet)
    return len(attempts)


def _receipts_without_attempt(
    since: datetime, until: datetime
) -> list[DeliveryReceipt]:
    on_record = MessageDeliveryAttempt.objects.filter(
        message=OuterRef("message"), attempt_number=OuterRef("attempt_number")
    )
    in_flight = Q(
        message__status=MessageStatus.SENDING,
        message__unknown_since=None,
        attempt_number=F("message__attempt_count"),
    )
    return list(
        DeliveryReceipt.objects.filter(received_at__gt=since, received_at__lte=until)
        .filter(~Exists(on_record), attempt_number__lte=F("message__attempt_count"))
        .exclude(in_flight)
        .select_related("message")
        .order_by("received_at", "id")
    )


def _overtaken(since: datetime, until: datetime) -> list[CampaignMessage]:
    """Messages that a receipt for an earlier attempt has settled, and whose latest
    attempt is not on record.
    """
    earlier = DeliveryReceipt.objects.filter(
        received_at__gt=since,
        received_at__lte=until,
        attempt_number__lt=F("message__attempt_count"),
    )
    latest = MessageDeliveryAttempt.objects.filter(
        message=OuterRef("pk"), attempt_number=OuterRef("attempt_count")
    )
    ids = list(earlier.order_by().values_list("message", flat=True).distinct())
    messages = CampaignMessage.objects.filter(~Exists(latest), pk__in=ids)
    return list(messages.exclude(status=MessageStatus.SENDING)) if ids else []


def _lock_messages(ids: set[int], messages: Iterable[CampaignMessage]) -> None:
    ids = ids | {each.pk for each in messages}
    rows = CampaignMessage.objects.select_for_update().filter(pk__in=ids)
    list(rows.order_by("pk").values_list("pk"))


def _create_attempts(
    sheet: TallySheet, attempts: Sequence[MessageDeliveryAttempt]
) -> None:
    MessageDeliveryAttempt.objects.bulk_create(attempts)
    for attempt in attempts:
        sheet.count_attempt(vars(attempt))


def _poisonous(lost: Sequence[CampaignMessage]) -> set[int]:
    """Messages that have cost too many workers, including this one, to risk another."""
    return {
        message_id
        for message_id, workers in workers_lost_with(lost).items()
        if workers >= WORKERS_LOST_AT_MOST
    }


def _unknown_attempts(
    messages: Sequence[CampaignMessage], now: datetime
) -> list[MessageDeliveryAttempt]:
    """The latest attempt of each, with what its worker had sent it as."""
    owners = {each.lease_owner for each in messages if each.lease_owner}
    heartbeats = WorkerHeartbeat.objects.filter(pk__in=owners) if owners else ()
    sends_as = {each.owner: each.sends_as or {} for each in heartbeats}
    return [
        _unknown_attempt(
            each, sends_as.get(each.lease_owner or 0, {}).get(each.provider, {}), now
        )
        for each in messages
    ]


def _unknown_attempt(
    message: CampaignMessage, sent_as: Mapping[str, str], now: datetime
) -> MessageDeliveryAttempt:
    return MessageDeliveryAttempt(
        message=message,
        attempt_number=message.attempt_count,
        channel=message.channel,
        provider=message.provider,
        attempted_at=now,
        outcome=AttemptOutcome.UNKNOWN,
        error_class=ErrorClass.UNKNOWN,
        error_code=LOST_WORKER_CODE,
        error_message=LOST_WORKER,
        decision={
            "chosen": message.provider,
            "recovered": True,
            "lease_expired_at": str(message.lease_expires_at),
            "call_id": message.call_id,
            "sent_as": sent_as,
        },
        is_retry=message.retry_count > 0,
    )


def _attempt_of(
    receipt: DeliveryReceipt, message: CampaignMessage, number: int
) -> MessageDeliveryAttempt:
    return MessageDeliveryAttempt(
        message=message,
        attempt_number=number,
        channel=message.channel,
        provider=receipt.provider,
        attempted_at=receipt.occurred_at or receipt.received_at,
        outcome=AttemptOutcome.ACCEPTED,
        external_message_id=receipt.external_message_id,
        decision={"chosen": receipt.provider, "recovered": True},
        is_retry=message.retry_count > 0,
    )


def _change(
    message: CampaignMessage, routes: RoutingTable, at: DecisionContext
) -> Change:
    """The change to a message whose worker was lost."""
    return after_step(
        _step(message, routes, at),
        Attempt(message.attempt_count, message.retry_count),
        reason=LOST_WORKER,
        now=at.now,
    )


def _step(message: CampaignMessage, routes: RoutingTable, at: DecisionContext) -> Step:
    wait = first_look(
        message.provider, verdict_wait=at.verdict_wait, is_call_over=False
    )
    at = replace(at, verdict_wait=wait)
    route = routes.route(message.destination, now=at.now)
    if route is None:  # removed since: wait, the choice that never sends twice
        return AwaitVerdict(at.now + at.verdict_wait)
    tried = Round(tried=(message.provider,), failed_rounds=message.retry_count)
    return after_lost_worker(route, tried, at)
