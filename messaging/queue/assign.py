"""Placing: each message of a claim gets a provider, or goes back to wait."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from messaging.models import CampaignMessage
from messaging.queue.claimed import Claimed, content_of, next_attempt_number
from messaging.queue.due import DueMessage
from messaging.queue.quarantine import quarantined_if_it_fails
from messaging.transitions import given_up, write
from routing.decision.context import (
    NO_PROVIDER_PAUSE,
    Planner,
    ProviderSnapshot,
    RoutingRequest,
    pause_before_next_try,
)
from routing.decision.routing_table import take_turns
from routing.decision.suitability import Suitability
from routing.health.breakers import ChannelHealth, can_be_probed, take_probe
from routing.providers.base import OutboundMessage
from routing.reference_keys import reference_for
from routing.rules.decide import (
    Choices,
    Decision,
    first_choice,
    ideal_provider,
    is_hopeless,
    screened_choices,
)
from routing.rules.retry import PastAttempt
from routing.rules.route import Destination, Route

# The token is there when the message probes a provider's open breaker.
_Decided = tuple[Choices, Decision | None, datetime | None]
Addressed = tuple[DueMessage, Destination]


class _Item(NamedTuple):
    """A message that is being placed."""

    message: DueMessage
    request: RoutingRequest
    content: OutboundMessage  # as it leaves by the route's first provider
    history: tuple[PastAttempt, ...]

    @property
    def attempt_number(self) -> int:
        """Of the attempt that it is to make."""
        return self.message.attempt_count + 1

    def content_for(self, provider: str, route: Route) -> OutboundMessage:
        """The message as it leaves by this provider: its reference is sealed for it."""
        if provider == route.providers[0]:
            return self.content
        reference = reference_for(
            self.message.pk, self.attempt_number, provider=provider
        )
        return replace(self.content, reference=reference)


# What was tried before, by message: only of those that were.
Histories = Mapping[int, tuple[PastAttempt, ...]]


class Assignment:
    """Places the messages of one claim; within the claim's transaction."""

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
        self._around = snapshot
        self._lease = lease
        self._lease_end = now + lease
        self._now = now
        self._histories = histories
        self._claimed: list[Claimed] = []
        self._hopeless: list[tuple[DueMessage, str]] = []
        self._waiting: dict[tuple[str, timedelta], list[int]] = {}

    def place(self, batch: Sequence[Addressed], route: Route | None) -> None:
        """Give the messages of a route the providers they leave by, or a reason to
        wait. One decision does for all that are alike, as most are.
        """
        if route is None:
            for message, destination in batch:
                self._wait(message, _no_route(destination), NO_PROVIDER_PAUSE)
            return
        cache_key = self._planner.cache_key(route, now=self._now, snapshot=self._around)
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
        """The message as it would go out, and who cannot carry it."""
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
        if decision and self._take(decision, item.request):
            claimed = _claimed(item, route, decision, self._lease_end)
            if probe_token:
                claimed = claimed._replace(probe_token=probe_token)
            self._claimed.append(claimed)
        elif is_hopeless(route, choices):
            reason = f"No provider can carry it. {_no_provider(route, choices)}"[:500]
            self._hopeless.append((item.message, reason))
        else:
            pause = self._pause(route, choices, item.request)
            self._wait(item.message, _no_provider(route, choices), pause)

    def save(self) -> list[Claimed]:
        """Write what was drawn and who waits; returns those that leave."""
        self._around.capacity.save()
        for (reason, pause), ids in self._waiting.items():
            CampaignMessage.objects.filter(pk__in=ids).update(
                status_reason=reason[:500], due_at=self._now + pause
            )
        self._fail_hopeless()
        return self._claimed

    @property
    def hopeless(self) -> list[str]:
        """Why messages failed that no provider of their route can carry."""
        return [reason for _, reason in self._hopeless]

    def _fail_hopeless(self) -> None:
        """End those that no provider of their route can carry, and say why."""
        write(
            (message, given_up(reason, now=self._now))
            for message, reason in self._hopeless
        )

    def _decide(self, route: Route, request: RoutingRequest, turn: int) -> _Decided:
        choices = self._planner.choices(
            route, request, now=self._now, turn=turn, snapshot=self._around
        )
        choices, probe_token = self._probe(route, request, choices)
        return choices, first_choice(route, choices), probe_token

    def _probe(
        self, route: Route, request: RoutingRequest, choices: Choices
    ) -> tuple[Choices, datetime | None]:
        """Let this message try its ideal provider, if that is due for a probe."""
        ideal = ideal_provider(route, choices)
        health = self._around.health.get(route.channel, ChannelHealth())
        if ideal is None or ideal in choices.unsuitable:
            return choices, None
        if not can_be_probed(health.breakers.get(ideal), self._now):
            return choices, None
        if self._around.capacity.verdict(ideal, request.segments, self._now):
            return choices, None  # its throttle has no room for a probe either
        token = take_probe(ideal, route.channel, now=self._now, lease=self._lease)
        return (choices.without({ideal: ""}), token) if token else (choices, None)

    def _take(self, decision: Decision, request: RoutingRequest) -> bool:
        """Draw the message from its provider's throttle and retry budget."""
        provider = decision.provider
        if not self._around.capacity.take(provider, request.segments, self._now):
            return False
        if request.is_retry:
            left = self._around.health[request.destination.channel].retries_left
            if provider in left:
                left[provider] -= 1
        return True

    def _pause(
        self, route: Route, choices: Choices, request: RoutingRequest
    ) -> timedelta:
        return pause_before_next_try(
            route, choices, request, snapshot=self._around, now=self._now
        )

    def _wait(self, message: DueMessage, reason: str, pause: timedelta) -> None:
        self._waiting.setdefault((reason, pause), []).append(message.pk)


def _no_route(destination: Destination) -> str:
    where = f" to {destination.country}" if destination.country else ""
    return f"There is no active route for {destination.channel.label}{where}."


def _no_provider(route: Route, choices: Choices) -> str:
    """Why a message has to wait: what rules each provider out."""
    verdicts = [
        f"{each.provider}: {each.verdict}"
        for each in screened_choices(route, choices).candidates
        if not each.is_eligible
    ]
    return " ".join(verdicts) or "The route allows no fallback."


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
