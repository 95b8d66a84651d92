"""Recording: write the results of messages in flight, in bulk and fenced."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from messaging.models import CampaignMessage
from messaging.queue import record_sql
from messaging.queue.claimed import Claimed, Result
from messaging.queue.gate import holds_on
from messaging.queue.record_sql import Written
from messaging.queue.side_effects import heed_unusual
from messaging.reconciliation import known_as_sent
from messaging.transitions import Attempt, after_step, as_row, count_settled
from routing.decision.planner import Planner
from routing.health.breakers import take_probe
from routing.health.throttles import (
    Capacity,
    lock_capacity,
)
from routing.look_ups import sent_as
from routing.providers.base import SendFailure, Throttled
from routing.rules.decide import SHORTEST_PAUSE, FallBack, Retry, Sent
from routing.rules.tally import TallySheet
from routing.statistics.entries import save_counts
from routing.vocabulary import AttemptOutcome, Channel


def record(
    results: Sequence[Result],
    *,
    owner: int,
    lease: timedelta,
    planner: Planner,
    now: datetime,
) -> list[Claimed]:
    """Write results and return the fallbacks that may be sent now.

    ValueError if two results are of the same message. In one short transaction:
    1. stop the fallbacks that must not leave any more: since the claim, the recipient
       may have said STOP, the campaign may have been cancelled or paused, the message
       may have expired, or quiet hours may have begun; stop retries and fallbacks if an
       earlier attempt turned out to have been sent
    2. slow the throttles of providers that asked for it, and take the fallbacks'
       capacity from the throttles of their next providers; a fallback without capacity
       waits for a later round
    3. settle the messages whose lease this worker still holds; a fallback's next
       provider and fresh lease are on the row before the provider is called. Append all
       attempts: a late one is evidence too
    4. count all of this in the statistics
    5. where anything did not go as usual, do what follows from that (`side_effects`)
    """
    # The same order for all workers, so that none deadlock.
    results = sorted(results, key=lambda each: each.claimed.message_id)
    has_failures = any(each.send_result.failure for each in results)
    with transaction.atomic():
        if has_failures:
            results = _draw_on_throttles(_past_the_gate(results, now), now)
            results = [_take_probe(each, lease, now) for each in results]
        sheet, unusual = _write(results, owner, lease, now)
        held = {each.claimed.message_id for each in results}
        held -= {each.message_id for each in unusual if not each.is_settled}
        watched = planner.watched(now=now)
        if unusual or not all(_is_plain(each, watched) for each in results):
            heed_unusual(results, unusual, held, sheet, planner=planner, now=now)
    if has_failures:
        planner.note_changes()
    return _fallbacks(results, held, now + lease)


def resume(
    results: Sequence[Result], *, owner: int, lease: timedelta, now: datetime
) -> list[Claimed]:
    """Continue with messages that were not sent, according to a look-up.

    As `record`, but their attempts are on record already, as Unknown.
    """
    sheet = TallySheet()
    results = sorted(results, key=lambda each: each.claimed.message_id)
    with transaction.atomic():
        results = _draw_on_throttles(_past_the_gate(results, now), now)
        results = [_take_probe(each, lease, now) for each in results]
        rows = [_settlement(each, owner, lease, now) for each in results]
        held = record_sql.settle(rows, owner=owner)
        count_settled(
            sheet, [row for row in rows if row["message_id"] in held], now=now
        )
        save_counts(sheet)
    return _fallbacks(results, held, now + lease)


def _write(
    results: Sequence[Result], owner: int, lease: timedelta, now: datetime
) -> tuple[TallySheet, list[Written]]:
    """Settle the messages whose lease is held, append the attempts, and count both.
    Returns the writes that did not go as usual, and the counts that correct for them,
    which are mostly negative.
    """
    decisions: dict[int, tuple[int, Mapping[str, Any]]] = {}  # by identity
    rows = {}
    for each in results:
        record = _decision_record(each)
        place, _ = decisions.setdefault(id(record), (len(decisions), record))
        row = _settlement(each, owner, lease, now)
        row["decision"] = place
        row.update(_attempt(each))
        rows[each.claimed.message_id] = row
    if len(rows) < len(results):
        raise ValueError("Two results of one message cannot be written together.")
    unusual = record_sql.record(
        list(rows.values()),
        decisions=[record for _, record in decisions.values()],
        usual=_counts(rows, map(Written, rows), now),
        owner=owner,
    )
    as_usual = _counts(rows, [Written(each.message_id) for each in unusual], now)
    return _counts(rows, unusual, now) - as_usual, unusual


def _decision_record(result: Result) -> Mapping[str, Any]:
    """The decision as it is stored; of an unknown outcome, also what its provider has
    to be asked by.
    """
    record = result.claimed.decision.record
    if result.send_result.outcome != AttemptOutcome.UNKNOWN:
        return record
    return {**record, "sent_as": sent_as(result.send_result.provider)}


def _counts(
    rows: Mapping[int, Mapping[str, Any]], written: Iterable[Written], now: datetime
) -> TallySheet:
    """The counts of rows that were written in this way."""
    sheet, settled = TallySheet(), []
    for each in written:
        row = rows[each.message_id]
        if each.is_settled:
            settled.append(row)
        if each.is_appended:
            sheet.count_attempt({**row, "is_late": True} if each.is_late else row)
    count_settled(sheet, settled, now=now)
    return sheet


def _is_plain(result: Result, watched: Collection[tuple[str, Channel]]) -> bool:
    """Whether nothing follows from it but that the message is sent, as of nearly all:
    accepted at the first attempt, by a healthy provider that counts parts as we do.
    """
    claimed, acceptance = result.claimed, result.send_result.acceptance
    return (
        acceptance is not None
        and claimed.attempt_number == 1
        and acceptance.parts in (None, 0, claimed.request.segments)
        and (result.send_result.provider, claimed.channel) not in watched
    )


def _fallbacks(
    results: Sequence[Result], held: Collection[int], lease_end: datetime
) -> list[Claimed]:
    """The fallbacks that may be sent now, because they are on their rows."""
    return [
        each.claimed.fallen_back(
            each.step.decision,
            lease_end,
            after=each.send_result.failure,
            probe_token=each.probe_token,
        )
        for each in results
        if isinstance(each.step, FallBack) and each.claimed.message_id in held
    ]


def _without_those_sent(results: Sequence[Result]) -> list[Result]:
    """Stop fallbacks and retries of messages that an earlier attempt did send."""
    again = [
        each.claimed.message_id
        for each in results
        if each.claimed.attempt_number > 1 and isinstance(each.step, FallBack | Retry)
    ]
    sent = known_as_sent(again)
    return [
        each._replace(step=Sent()) if each.claimed.message_id in sent else each
        for each in results
    ]


def _past_the_gate(results: Sequence[Result], now: datetime) -> list[Result]:
    """Stop fallbacks that the gate holds: one query, or none without fallbacks."""
    results = _without_those_sent(results)
    ids = [r.claimed.message_id for r in results if isinstance(r.step, FallBack)]
    if not ids:
        return list(results)
    messages = CampaignMessage.objects.with_suppression().select_related("campaign")
    holds = holds_on(messages.filter(pk__in=ids), now=now)
    return [
        each._replace(step=holds[each.claimed.message_id])
        if each.claimed.message_id in holds
        else each
        for each in results
    ]


def _draw_on_throttles(results: Sequence[Result], now: datetime) -> list[Result]:
    capacity = lock_capacity(
        [
            each.step.decision.provider
            for each in results
            if isinstance(each.step, FallBack)
        ]
        + [each.send_result.provider for each in results if _throttled(each)]
    )
    for each in results:
        if failure := _throttled(each):
            capacity.slow_down(each.send_result.provider, failure.retry_after, now)
    drawn = [_draw(each, capacity, now) for each in results]
    capacity.save()
    return drawn


def _draw(result: Result, capacity: Capacity, now: datetime) -> Result:
    """The result, with a fallback that finds no capacity turned into a retry."""
    if not isinstance(result.step, FallBack):
        return result
    provider = result.step.decision.provider
    segments = result.claimed.request.segments
    if capacity.take(provider, segments, now):
        return result
    wait = max(capacity.wait(provider, segments, now), SHORTEST_PAUSE)
    return result._replace(step=Retry(now + wait, counts_as_retry=False))


def _take_probe(result: Result, lease: timedelta, now: datetime) -> Result:
    """The result, with a fallback that loses the probe to another message turned into a
    later try of the same round.
    """
    if not (isinstance(result.step, FallBack) and result.step.is_probe):
        return result
    token = take_probe(
        result.step.decision.provider, result.claimed.channel, now=now, lease=lease
    )
    if token:
        return result._replace(probe_token=token)
    return result._replace(step=Retry(now + SHORTEST_PAUSE, counts_as_retry=False))


def _throttled(result: Result) -> Throttled | None:
    failure = result.send_result.failure
    return failure if isinstance(failure, Throttled) else None


def _settlement(
    result: Result, owner: int, lease: timedelta, now: datetime
) -> dict[str, Any]:
    """The message's row for `record_sql`; only a fallback keeps a lease."""
    claimed = result.claimed
    row: dict[str, Any] = {
        "message_id": claimed.message_id,
        "attempt_number": claimed.attempt_number,
        "channel": claimed.channel,
        "provider": claimed.decision.provider,
    }
    change = after_step(
        result.step,
        Attempt(claimed.attempt_number, claimed.retry_count),
        lease=(owner, now + lease),
        reason=result.reason,
        now=now,
    )
    row.update(as_row(change))
    return row


def _attempt(result: Result) -> dict[str, Any]:
    """The attempt's columns for `record_sql.record`."""
    claimed, done = result.claimed, result.send_result
    row: dict[str, Any] = {
        "attempted_at": done.attempted_at,
        "outcome": done.outcome,
        "response_time_ms": done.response_time_ms,
        "fallback_reason": claimed.decision.fallback_reason,
        "is_retry": claimed.is_retry,
        "is_late": False,  # as far as we know
    }
    if done.acceptance:
        row["external_message_id"] = str(done.acceptance.external_message_id)[:200]
    if done.cost:
        row |= {"cost": done.cost.amount, "currency": done.cost.currency}
    if done.failure:
        row |= _error(done.failure)
    return row


def _error(failure: SendFailure) -> dict[str, Any]:
    return {
        "error_class": failure.error_class,
        "error_code": failure.code[:100],
        "error_message": str(failure)[:500],
    }
