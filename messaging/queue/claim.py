"""Claiming: which messages leave now, and through which provider first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.db.models.functions import Coalesce

from messaging.models import CampaignMessage
from messaging.queue import claim_sql
from messaging.queue.assign import Addressed, Assignment
from messaging.queue.claimed import Claimed, DueMessage
from messaging.queue.gate import holds_on
from messaging.queue.lanes import Lanes
from messaging.queue.quarantine import one_suspect_of, quarantined_if_it_fails
from messaging.queue.window import share_calls
from messaging.transitions import Hold, held, write
from routing.decision.planner import Planner, ProviderSnapshot
from routing.models import MessageDeliveryAttempt
from routing.receipts.record import failures_reported
from routing.rules.retry import PastAttempt
from routing.rules.route import Route
from routing.vocabulary import AttemptOutcome, ErrorClass, MessageStatus


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of one claim.

    `seen` includes messages that the gate held back. With `is_held_back`, more are due,
    but throttles leave no capacity for them; with `is_on_hold`, an outage holds them.
    """

    claimed: list[Claimed]
    seen: int
    is_held_back: bool = False
    is_on_hold: bool = False
    ended: Mapping[str, int] = field(
        default_factory=dict
    )  # will never leave; by reason


class Claimer:
    """Claims for one worker; remembers lanes and routes between claims."""

    def __init__(self, *, owner: int, lease: timedelta, planner: Planner) -> None:
        self._owner = owner
        self._lease = lease
        self._planner = planner
        self._lanes = Lanes()

    def claim(self, *, limit: int, now: datetime) -> Claim:
        """Move at most `limit` due messages to Sending and return them.

        In one short transaction:
        1. lock due messages of the running campaigns, a fair share of each
        2. hold those that must not leave (the gate), with the reason; let only one at a
           time through of those that may be killing their workers
        3. choose a provider for each. If there is none now, the message waits, with the
           reason; if no provider can ever carry it, it fails; if it breaks this step,
           it is quarantined
        4. let messages share a call if their provider accepts several
        5. write owner, lease, attempt number, provider and call to the row

        Rows locked by another worker are skipped, so that a claim may return fewer.
        """
        try:
            with transaction.atomic():
                return self._claim(limit, now)
        except BaseException:
            self._lanes.forget()
            raise

    def _claim(self, limit: int, now: datetime) -> Claim:
        available = self._planner.available(now=now)
        draw = self._lanes.lock_due(limit, available, now=now)
        locked = draw.locked
        holds = holds_on(locked, now=now)
        passed = one_suspect_of(_gate(locked, holds, now), now=now)
        gated = [each.reason for each in holds.values() if each.finished_at(now)]
        claimed, hopeless = self._choose(passed, now)
        if claimed:
            claim_sql.mark_claimed(
                [_claimed_row(each) for each in claimed],
                owner=self._owner,
                lease_expires_at=now + self._lease,
            )
        return Claim(
            claimed,
            seen=len(locked),
            is_held_back=draw.is_held_back,
            is_on_hold=draw.is_on_hold,
            ended=Counter([*gated, *hopeless]),
        )

    def _choose(
        self, messages: Sequence[DueMessage], now: datetime
    ) -> tuple[list[Claimed], list[str]]:
        """The messages that leave, and a reason for each message that failed."""
        by_route = self._by_route(messages, now)
        snapshot = self._snapshot([route for route, _ in by_route if route], now)
        assignment = Assignment(
            planner=self._planner,
            snapshot=snapshot,
            lease=self._lease,
            now=now,
            histories=_histories(messages),
        )
        for route, batch in by_route:
            assignment.place(batch, route)
        claimed = assignment.save()
        if snapshot.returning.taken or any(each.probe_token for each in claimed):
            self._planner.note_changes()
        return share_calls(claimed), assignment.hopeless

    def _snapshot(self, routes: Sequence[Route], now: datetime) -> ProviderSnapshot:
        """The state of the routes' providers; locks their throttles."""
        names = [name for route in routes for name in route.providers]
        capacity = self._planner.lock_capacity(names, now=now)
        if capacity.limits_concurrency:
            # Twice a lease, because the workers' clocks may differ a little.
            capacity.in_flight = _in_flight(names, until=now + 2 * self._lease)
        return replace(
            self._planner.snapshot(now=now),
            capacity=capacity,
            returning=self._planner.lock_returning(routes, now=now),
        )

    def _by_route(
        self, messages: Sequence[DueMessage], now: datetime
    ) -> list[tuple[Route | None, list[Addressed]]]:
        """The messages of each route, in order of the routes' ids."""
        batches: dict[int | None, tuple[Route | None, list[Addressed]]] = {}
        for message in messages:
            with quarantined_if_it_fails(message, now=now):
                destination = message.destination
                route = self._planner.route(destination, now=now)
                key = route.config_id if route else None
                batches.setdefault(key, (route, []))[1].append((message, destination))
        # All workers take routes in the same order, so that none deadlock.
        return [batches[key] for key in sorted(batches, key=lambda key: key or 0)]


def _gate(
    messages: Sequence[DueMessage], holds: Mapping[int, Hold], now: datetime
) -> list[DueMessage]:
    """Let messages through that may still leave; hold the rest, with reasons."""
    stopped = [each for each in messages if each.pk in holds]
    write((each, held(holds[each.pk], now=now)) for each in stopped)
    return [message for message in messages if message.pk not in holds]


def _claimed_row(claimed: Claimed) -> dict[str, Any]:
    """A row for `claim_sql.mark_claimed`; a message that goes alone names no call."""
    row = {"id": claimed.message_id, "provider": claimed.decision.provider}
    return row if claimed.call_id is None else row | {"call_id": claimed.call_id}


def _in_flight(providers: Sequence[str], *, until: datetime) -> dict[str, int]:
    """How many calls to each provider are under way, by all workers.

    Messages that await a receipt are not calls. Most of those have leases that end
    after `until`, and are not even read.
    """
    return dict(
        CampaignMessage.objects.filter(
            status=MessageStatus.SENDING,
            lease_owner__isnull=False,
            lease_expires_at__lte=until,
            provider__in=providers,
        )
        .values_list("provider")
        .annotate(calls=Count(Coalesce("call_id", "id"), distinct=True))
        .order_by()
    )


def _histories(messages: Sequence[DueMessage]) -> dict[int, tuple[PastAttempt, ...]]:
    """The earlier attempts of each message that has any.

    Retry policies and the retry table use them, and so does the choice of a provider.
    """
    again = [each.pk for each in messages if each.attempt_count]
    if not again:
        return {}
    reported = failures_reported(again)
    past: dict[int, list[PastAttempt]] = {}
    for attempt in MessageDeliveryAttempt.objects.filter(
        message_id__in=again, is_late=False
    ).order_by("attempt_number"):
        said = reported.get((attempt.message_id, attempt.attempt_number))
        past.setdefault(attempt.message_id, []).append(_past_attempt(attempt, said))
    return {pk: tuple(attempts) for pk, attempts in past.items()}


def _past_attempt(
    attempt: MessageDeliveryAttempt, reported: ErrorClass | None
) -> PastAttempt:
    return PastAttempt(
        number=attempt.attempt_number,
        provider=attempt.provider,
        outcome=AttemptOutcome(attempt.outcome),
        error_class=None
        if attempt.error_class is None
        else ErrorClass(attempt.error_class),
        error_code=attempt.error_code,
        attempted_at=attempt.attempted_at,
        reported=reported,
    )
