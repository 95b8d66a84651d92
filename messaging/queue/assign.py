"""Assignment: each message of a claim gets a provider, goes back to wait, or fails."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from messaging.models import CampaignMessage
from messaging.queue.claimed import Claimed, DueMessage, content_of, next_attempt_number
from messaging.queue.quarantine import quarantined_if_it_fails
from messaging.transitions import given_up, write
from routing.decision.planner import Planner, ProviderSnapshot, take_turns
from routing.decision.request import RoutingRequest, Suitability
from routing.health.breakers import take_probe
from routing.providers.base import OutboundMessage
from routing.reference import reference_for
from routing.rules.decide import (
    NO_PROVIDER_PAUSE,
    Choices,
    Decision,
    first_choice,
    is_hopeless,
    next_try_at,
    probe_choice,
    what_rules_out,
)
from routing.rules.retry import PastAttempt
from routing.rules.route import Destination, Route

# The datetime is the probe's token, where the message probes an open breaker.
_Decided = tuple[Choices, Decision | None, datetime | None]
Addressed = tuple[DueMessage, Destination]


class _Item(NamedTuple):
    """A message that is about to get a provider."""

    message: DueMessage
    request: RoutingRequest
    content: OutboundMessage  # as it leaves by the route's first provider
    history: tuple[PastAttempt, ...]

    @property
    def attempt_number(self) -> int:
        """The number of the attempt that it is about to make."""
        return self.message.attempt_count + 1

    def content_for(self, provider: str, route: Route) -> OutboundMessage:
        """The message as it leaves by this provider, with a reference sealed for it."""
        if provider == route.providers[0]:
            return self.content
        reference = reference_for(
            self.message.pk, self.attempt_number, provider=provider
        )
        return replace(self.content, reference=reference)


# The earlier attempts, by message; a message without any is absent.
Histories = Mapping[int, tuple[PastAttempt, ...]]


class Assignment:
    """Gives the messages of one claim their providers, in the claim's transaction."""

    def __init__(
        self,
        *,
        planner: Planner,
        snapshot: ProviderSnapshot,
        lease: timedelta,
        now: datetime,
        histories: Histories,
    ) -> None:
        self._planner = planner
        self._snapshot = snapshot
        self._lease = lease
        self._lease_end = now + lease
        self._now = now
        self._histories = histories
        self._claimed: list[Claimed] = []
        self._hopeless: list[tuple[DueMessage, str]] = []
        self._waiting: dict[tuple[str, datetime], list[int]] = {}

    def place(self, batch: Sequence[Addressed], route: Route | None) -> None:
        """Give each message of a route a provider, or a reason to wait or to fail.

        Messages that are alike, as most are, share one decision.
        """
        if route is None:
            due_at = self._now + NO_PROVIDER_PAUSE
            for message, destination in batch:
                self._wait(message, _no_route(destination), due_at)
            return
        cache_key = self._planner.cache_key(
            route, now=self._now, snapshot=self._snapshot
        )
        decided: dict[Hashable, _Decided] = {}
        first_turn = take_turns(route, len(batch))
        suitability = Suitability(route.providers)
        for turn, addressed in enumerate(batch, start=first_turn):
            with quarantined_if_it_fails(addressed[0], now=self._now):
                item = self._item(addressed, route, suitability)
                alike = cache_key.of(item.request) if cache_key else turn
                if alike not in decided:
                    decided[alike] = self._decide(route, item.request, turn)
                self._place(item, route, decided[alike])

    def _item(
        self, addressed: Addressed, route: Route, suitability: Suitability
    ) -> _Item:
        """The message as it would leave, and the providers that cannot carry it."""
        message, destination = addressed
        content = content_of(
            message,
            attempt_number=next_attempt_number(message),
            provider=route.providers[0],
        )
        history = self._histories.get(message.pk, ())
        request = RoutingRequest(
            destination,
            message.segments,
            message.retry_count > 0,
            suitability.unsuitable(
                content, country=destination.country, past_attempts=history
            ),
        )
        return _Item(message, request, content, history)

    def _place(self, item: _Item, route: Route, decided: _Decided) -> None:
        choices, decision, probe_token = decided
        if decision and self._snapshot.take(decision.provider, item.request, self._now):
            claimed = _claimed(item, route, decision, self._lease_end)
            if probe_token:
                claimed = claimed._replace(probe_token=probe_token)
            self._claimed.append(claimed)
            return
        reason = what_rules_out(route, choices)
        if is_hopeless(route, choices):
            reason = f"No provider can carry it. {reason}"[:500]
            self._hopeless.append((item.message, reason))
        else:
            self._wait(item.message, reason, next_try_at(route, choices, now=self._now))

    def save(self) -> list[Claimed]:
        """Write what the throttles gave, and who waits or fails; returns who leaves."""
        self._snapshot.save()
        for (reason, due_at), ids in self._waiting.items():
            CampaignMessage.objects.filter(pk__in=ids).update(
                status_reason=reason[:500], due_at=due_at
            )
        self._fail_hopeless()
        return self._claimed

    @property
    def hopeless(self) -> list[str]:
        """Why messages failed: one reason for each that no provider can carry."""
        return [reason for _, reason in self._hopeless]

    def _fail_hopeless(self) -> None:
        """Fail the messages that no provider of their route can carry."""
        write(
            (message, given_up(reason, now=self._now))
            for message, reason in self._hopeless
        )

    def _decide(self, route: Route, request: RoutingRequest, turn: int) -> _Decided:
        choices = self._planner.choices(
            route, request, now=self._now, turn=turn, snapshot=self._snapshot
        )
        if probe := probe_choice(route, choices):
            token = take_probe(
                probe.provider, route.channel, now=self._now, lease=self._lease
            )
            if token:
                return choices, probe, token
        return choices, first_choice(route, choices), None

    def _wait(self, message: DueMessage, reason: str, due_at: datetime) -> None:
        self._waiting.setdefault((reason, due_at), []).append(message.pk)


def _no_route(destination: Destination) -> str:
    where = f" to {destination.country}" if destination.country else ""
    return f"There is no active route for {destination.channel.label}{where}."


def _claimed(
    item: _Item, route: Route, decision: Decision, lease_end: datetime
) -> Claimed:
    return Claimed(
        message_id=item.message.pk,
        channel=item.request.destination.channel,
        attempt_number=item.attempt_number,
        retry_count=item.message.retry_count,
        request=item.request,
        route=route,
        decision=decision,
        lease_expires_at=lease_end,
        content=item.content_for(decision.provider, route),
        past_attempts=item.history,
    )
