"""What results change besides their own messages; most change nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from messaging.consent.suppression import suppress
from messaging.models import CampaignMessage
from messaging.queue.claimed import Result
from messaging.vocabulary import SuppressionReason
from routing.decision.planner import Planner
from routing.health.breakers import CallOutcome, learn
from routing.providers.base import RecipientError, SendFailure
from routing.rules.decide import Sent
from routing.vocabulary import Channel


def correct_parts(results: Iterable[Result]) -> dict[int, int]:
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


def late_acceptances(
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


def possible_duplicates(results: Sequence[Result], held: Collection[int]) -> list[int]:
    """Accepted messages that an earlier or another attempt may have sent too."""
    return [
        each.claimed.message_id
        for each in results
        if isinstance(each.step, Sent)
        and (each.claimed.attempt_number > 1 or each.claimed.message_id not in held)
    ]


def suppress_recipients(results: Iterable[Result]) -> None:
    """Suppress addresses that providers say have opted out or do not exist."""
    found: dict[tuple[str, SuppressionReason], list[str]] = {}
    for each in results:
        reason = _reason_to_suppress(each.send_result.failure)
        if reason is not None:
            recipient = each.claimed.content.recipient
            found.setdefault((each.send_result.provider, reason), []).append(recipient)
    for (provider, reason), addresses in sorted(found.items()):
        suppress(addresses, reason=reason, source=provider)


def update_breakers(results: Sequence[Result], planner: Planner, now: datetime) -> None:
    """Count outcomes for the breakers; healthy providers are not counted."""
    watched = planner.watched(now=now) | {
        _where(each)
        for each in results
        if each.send_result.failure and _call_outcome(each).is_fault
    }
    outcomes = [_call_outcome(each) for each in results if _where(each) in watched]
    if outcomes:
        learn(
            outcomes,
            alternatives=planner.alternatives(now=now),
            now=now,
            rng=planner.rng,
        )


def _where(result: Result) -> tuple[str, Channel]:
    return result.send_result.provider, result.claimed.channel


def _call_outcome(result: Result) -> CallOutcome:
    return CallOutcome(
        provider=result.send_result.provider,
        channel=result.claimed.channel,
        failure=result.send_result.failure,
        probe_token=result.claimed.probe_token,
        is_retry=result.claimed.request.is_retry,
        call_id=result.claimed.call_id,
    )


def _reason_to_suppress(failure: SendFailure | None) -> SuppressionReason | None:
    if not isinstance(failure, RecipientError):
        return None
    if failure.opted_out:
        return SuppressionReason.OPTED_OUT
    return SuppressionReason.HARD_BOUNCE if failure.is_gone else None
