"""What follows from results that are out of the ordinary; of most, nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from messaging.consent.suppression import suppress
from messaging.models import CampaignMessage
from messaging.queue.claimed import Result
from messaging.queue.receipts import count_parts_again, settle_late_acceptances
from messaging.queue.record_sql import Written
from messaging.reconciliation import mark_possible_duplicates
from messaging.vocabulary import SuppressionReason
from routing.decision.planner import Planner
from routing.health.breakers import learn
from routing.providers.base import RecipientError, SendFailure
from routing.receipts.record import correct_costs, receipts_of
from routing.rules.decide import Sent
from routing.rules.tally import TallySheet
from routing.statistics.entries import save_counts
from routing.vocabulary import Channel


def heed_unusual(
    results: Sequence[Result],
    unusual: Sequence[Written],
    held: Collection[int],
    sheet: TallySheet,
    *,
    planner: Planner,
    now: datetime,
) -> None:
    """Do what follows from a batch in which something did not go as usual.

    Within the transaction that wrote the results. `unusual` are the writes that did not
    go as usual, `held` the messages whose lease was held, and `sheet` the counts that
    correct for them:
    1. let a late acceptance settle a message that still waits for a verdict
    2. count that, and correct costs that receipts already gave
    3. mark messages that an earlier attempt may also have got through
    4. suppress addresses that providers say have opted out or do not exist
    5. update the providers' breakers
    6. where a provider counts parts differently, apply the receipts of parts again:
       they may have come before this count
    """
    counted_parts = _correct_parts(results)
    settle_late_acceptances(_late_acceptances(results, held), sheet, now=now)
    # The statement does not see a receipt that it had to wait for; but that receipt
    # has then settled the message.
    priced = [
        each.message_id
        for each in unusual
        if each.has_receipt_cost or not each.is_settled
    ]
    for receipts in receipts_of(priced).values():
        correct_costs(receipts, sheet)
    save_counts(sheet)
    mark_possible_duplicates(_possible_duplicates(results, held), now=now)
    _suppress_recipients(results)
    _update_breakers(results, planner, now)
    count_parts_again(counted_parts, now=now)


def _correct_parts(results: Iterable[Result]) -> dict[int, int]:
    """Store a provider's own count of parts if it differs; each part has receipts.
    This is rare. Returns the previous counts, by message id.
    """
    counted = {}
    for each in results:
        acceptance = each.send_result.acceptance
        parts = acceptance.parts if acceptance else None
        if parts and parts != each.claimed.request.segments:
            messages = CampaignMessage.objects.filter(pk=each.claimed.message_id)
            messages.update(segments=parts)
            counted[each.claimed.message_id] = each.claimed.request.segments
    return counted


def _late_acceptances(
    results: Iterable[Result], held: Collection[int]
) -> dict[int, int]:
    """Accepted messages that recovery or a receipt had already taken from this worker:
    attempt numbers by message.
    """
    return {
        each.claimed.message_id: each.claimed.attempt_number
        for each in results
        if isinstance(each.step, Sent) and each.claimed.message_id not in held
    }


def _possible_duplicates(results: Sequence[Result], held: Collection[int]) -> list[int]:
    """Accepted messages that an earlier or another attempt may have sent too."""
    return [
        each.claimed.message_id
        for each in results
        if isinstance(each.step, Sent)
        and (each.claimed.attempt_number > 1 or each.claimed.message_id not in held)
    ]


def _suppress_recipients(results: Iterable[Result]) -> None:
    """Suppress addresses that providers say have opted out or do not exist."""
    found: dict[tuple[str, SuppressionReason], list[str]] = {}
    for each in results:
        reason = _reason_to_suppress(each.send_result.failure)
        if reason is not None:
            recipient = each.claimed.content.recipient
            found.setdefault((each.send_result.provider, reason), []).append(recipient)
    for (provider, reason), addresses in sorted(found.items()):
        suppress(addresses, reason=reason, source=provider)


def _update_breakers(
    results: Sequence[Result], planner: Planner, now: datetime
) -> None:
    """Count outcomes for the breakers; healthy providers are not counted."""
    watched = planner.watched(now=now) | {
        _where(each)
        for each in results
        if each.send_result.failure and each.claimed.outcome(each.send_result).is_fault
    }
    outcomes = [
        each.claimed.outcome(each.send_result)
        for each in results
        if _where(each) in watched
    ]
    if outcomes:
        learn(
            outcomes,
            alternatives=planner.alternatives(now=now),
            succeeded_lately=planner.succeeded_lately(now=now),
            now=now,
            rng=planner.rng,
        )


def _where(result: Result) -> tuple[str, Channel]:
    return result.send_result.provider, result.claimed.channel


def _reason_to_suppress(failure: SendFailure | None) -> SuppressionReason | None:
    if not isinstance(failure, RecipientError):
        return None
    if failure.opted_out:
        return SuppressionReason.OPTED_OUT
    return SuppressionReason.HARD_BOUNCE if failure.is_gone else None
