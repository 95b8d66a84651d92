"""Claiming: which messages leave now, and by which provider first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count

from messaging.models import Campaign, CampaignMessage
from messaging.queue import statements
from messaging.queue.gate import Refusal, refusals_of
from messaging.queue.placement import Claimed, Placement
from messaging.queue.quarantine import one_suspect_of, quarantined_if_it_fails
from messaging.standing import count_end
from routing.models import MessageDeliveryAttempt
from routing.planner import Planner, Surroundings, take_turns
from routing.retry import PastAttempt
from routing.route import Route
from routing.statistics import keep
from routing.tally import TallySheet
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought.

    `seen` counts also those that the gate held back, and `is_held_back` tells that more
    are due, but a throttle has no room for them.
    """

    claimed: list[Claimed]
    seen: int
    is_held_back: bool = False


class Claimer:
    """Claims for one worker. Keeps the routes and the campaigns' texts at hand."""

    def __init__(self, *, owner: int, lease: timedelta, planner: Planner) -> None:
        self._owner = owner
        self._lease = lease
        self._planner = planner
        self._turn = 0  # whose turn is first, so that campaigns share fairly

    def claim(self, *, limit: int, now: datetime) -> Claim:
        """Move at most `limit` due messages to Sending and return them.

        One short transaction:
        1. lock due messages of the running campaigns, a fair share of each
        2. stop those that must not leave (the gate), and say why; of those that may be
           killing their workers, let one go at a time
        3. choose a provider for each; without one it waits, and says why; one that
           cannot even be placed is quarantined
        4. write owner, lease, attempt number and provider onto the row

        Another worker's locked rows are skipped, so a claim may come back short.
        """
        with transaction.atomic():
            locked, is_held_back = self._lock_due(limit, now)
            passed = one_suspect_of(_gate(locked, now), now=now)
            claimed = self._choose(passed, now)
            if claimed:
                statements.mark_claimed(
                    [
                        {"id": each.message_id, "provider": each.decision.provider}
                        for each in claimed
                    ],
                    owner=self._owner,
                    lease_expires_at=now + self._lease,
                )
        return Claim(claimed, seen=len(locked), is_held_back=is_held_back)

    def _lock_due(
        self, limit: int, now: datetime
    ) -> tuple[list[CampaignMessage], bool]:
        """A throttle that is used up keeps its channel's messages where they are."""
        locked: list[CampaignMessage] = []
        is_held_back = False
        rooms = self._planner.rooms(now=now)
        for lanes in self._lanes_by_priority(now):
            for position, campaign in enumerate(lanes):
                room = limit - len(locked)
                share = min(
                    -(-room // (len(lanes) - position)),
                    rooms[Channel(campaign.channel)],
                )
                if share < 1:
                    is_held_back |= rooms[Channel(campaign.channel)] < 1
                    continue
                rows = statements.lock_due(campaign, int(share), now)
                rooms[Channel(campaign.channel)] -= len(rows)
                locked += rows
            if len(locked) >= limit:
                break
        return locked, is_held_back

    def _lanes_by_priority(self, now: datetime) -> Iterable[Sequence[Campaign]]:
        """Campaigns with due messages, by priority; within one, in turns."""
        levels: dict[int, list[Campaign]] = {}
        for campaign in statements.due_lanes(now):
            levels.setdefault(campaign.priority, []).append(campaign)
        self._turn += 1
        for lanes in levels.values():
            first = self._turn % len(lanes)
            yield lanes[first:] + lanes[:first]

    def _choose(
        self, messages: Sequence[CampaignMessage], now: datetime
    ) -> list[Claimed]:
        by_route = self._by_route(messages, now)
        placement = Placement(
            planner=self._planner,
            surroundings=self._surroundings(
                [route for route, _ in by_route if route], now
            ),
            lease=self._lease,
            now=now,
        )
        for route, batch in by_route:
            first_turn = take_turns(route, len(batch)) if route else 0
            for turn, message in enumerate(batch, start=first_turn):
                with quarantined_if_it_fails(message, now=now):
                    placement.place(message, route, turn)
        return _with_history(placement.keep())

    def _surroundings(self, routes: Sequence[Route], now: datetime) -> Surroundings:
        """How the routes' providers are, their throttles locked."""
        names = [name for route in routes for name in route.providers]
        capacity = self._planner.lock_capacity(names, now=now)
        if capacity.limits_concurrency:
            capacity.in_flight = _in_flight(names)
        return replace(self._planner.look_around(now=now), capacity=capacity)

    def _by_route(
        self, messages: Sequence[CampaignMessage], now: datetime
    ) -> list[tuple[Route | None, list[CampaignMessage]]]:
        """The messages of each route, in the order of their ids."""
        batches: dict[int | None, tuple[Route | None, list[CampaignMessage]]] = {}
        for message in messages:
            with quarantined_if_it_fails(message, now=now):
                route = self._planner.route(message.destination, now=now)
                key = route.config_id if route else None
                batches.setdefault(key, (route, []))[1].append(message)
        # In one order for all workers, so that two never wait for each other's turns.
        return [batches[key] for key in sorted(batches, key=lambda key: key or 0)]


def _gate(messages: Sequence[CampaignMessage], now: datetime) -> list[CampaignMessage]:
    """Let through what may still be sent; the rest is finished, with its reason."""
    refusals = refusals_of(messages, now=now)
    _count_refused(messages, refusals, now)
    for refusal in dict.fromkeys(refusals.values()):
        ids = [pk for pk, each in refusals.items() if each == refusal]
        CampaignMessage.objects.filter(pk__in=ids).update(
            status=refusal.status,
            status_reason=refusal.reason,
            finished_at=refusal.finished_at(now),
        )
    return [message for message in messages if message.pk not in refusals]


def _count_refused(
    messages: Iterable[CampaignMessage], refusals: Mapping[int, Refusal], now: datetime
) -> None:
    sheet = TallySheet()
    for message in messages:
        if refusal := refusals.get(message.pk):
            count_end(sheet, message, refusal.status, now=now)
    keep(sheet)


def _in_flight(providers: Sequence[str]) -> dict[str, int]:
    """Calls under way by all workers; a message that waits for a verdict is none."""
    return dict(
        CampaignMessage.objects.filter(
            status=MessageStatus.SENDING,
            lease_owner__isnull=False,
            provider__in=providers,
        )
        .values_list("provider")
        .annotate(Count("id"))
        .order_by()
    )


def _with_history(claimed: list[Claimed]) -> list[Claimed]:
    """Give those that were tried before the attempts that a retry policy looks at."""
    again = [each.message_id for each in claimed if each.attempt_number > 1]
    if not again:
        return claimed
    past: dict[int, list[PastAttempt]] = {}
    for attempt in MessageDeliveryAttempt.objects.filter(
        message_id__in=again, is_late=False
    ).order_by("attempt_number"):
        past.setdefault(attempt.message_id, []).append(_past_attempt(attempt))
    return [
        replace(each, past_attempts=tuple(past.get(each.message_id, ())))
        for each in claimed
    ]


def _past_attempt(attempt: MessageDeliveryAttempt) -> PastAttempt:
    return PastAttempt(
        number=attempt.attempt_number,
        provider=attempt.provider,
        outcome=AttemptOutcome(attempt.outcome),
        error_class=None
        if attempt.error_class is None
        else ErrorClass(attempt.error_class),
        error_code=attempt.error_code,
        attempted_at=attempt.attempted_at,
    )
