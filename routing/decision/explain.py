"""Where a message would go now, and why: the real decision, without sending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from routing.decision.planner import Planner, ProviderSnapshot, next_turn
from routing.decision.readiness import outage_sentences
from routing.decision.request import RoutingRequest, Suitability
from routing.health.breakers import describe_breaker
from routing.health.status import latest_attempts
from routing.health.throttles import read_capacity
from routing.providers.base import OutboundMessage
from routing.rules.decide import (
    Choices,
    describe,
    first_choice,
    is_hopeless,
    next_try_at,
)
from routing.rules.retry_table import PASSING, Failure, RetryTable, in_words
from routing.rules.route import Destination, Route
from routing.text.moments import utc_clock
from routing.text.phone_numbers import NotANumber, problem_with_kind, read_number
from routing.text.quantities import quantity
from routing.text.segments import count_segments
from routing.vocabulary import CampaignKind, Channel, ErrorClass, FallbackReason

ENOUGH_FOR_A_DECIMAL = 100  # messages; of fewer, a tenth of a per cent says nothing

_OF_HANDSETS = frozenset({ErrorClass.HANDSET_OFF})
_OF_MAILBOXES = frozenset({ErrorClass.MAILBOX_FULL, ErrorClass.GREYLISTED})
OF_OTHER_CHANNELS = {
    Channel.SMS: _OF_MAILBOXES,
    Channel.MMS: _OF_MAILBOXES,
    Channel.EMAIL: _OF_HANDSETS,
}

NO_PROVIDER_CAN = "No provider of the route can carry it: the message fails."


class UnusableAddress(ValueError):
    """The address does not fit the channel."""


def request_to(
    *, channel: Channel, to: str, body: str, kind: CampaignKind
) -> RoutingRequest:
    """A message as routing sees it; raises UnusableAddress.

    `to` is a number with its country code, or an e-mail address. Only the length of
    the body matters.
    """
    address = _mailbox(to.strip()) if channel == Channel.EMAIL else _number(to)
    segments = count_segments(body) if channel == Channel.SMS else 1
    return RoutingRequest(Destination(channel, *address, kind), segments)


def sample(
    request: RoutingRequest, *, body: str, media_urls: Sequence[str] = ()
) -> OutboundMessage | None:
    """The message itself, to hold against the providers' limits; None if not given."""
    is_given = media_urls or (body and request.destination.channel != Channel.MMS)
    if not is_given:
        return None
    return OutboundMessage("", request.destination.recipient, body, "", media_urls)


def _number(text: str) -> tuple[str, str]:
    """The number, and its country."""
    try:
        number = read_number(text)
    except NotANumber as error:
        raise UnusableAddress(f"{error}.") from None
    landlines = settings.SEND_TO_LANDLINES
    if problem := problem_with_kind(number.kind, takes_landlines=landlines):
        raise UnusableAddress(f"No message goes to {number.text}: {problem}.")
    return number.text, number.country


def _mailbox(address: str) -> tuple[str, str]:
    if "@" not in address:
        raise UnusableAddress(f"{address!r} is not an e-mail address.")
    return address, ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and all it was made from, for commands, endpoints and screens."""

    to: str
    country: str
    segments: int
    route: dict[str, Any] | None
    candidates: list[dict[str, Any]]  # in the route's order
    chosen: str | None  # None: the message would wait
    fallback_reason: str | None
    why: str
    retries: list[dict[str, Any]]  # what may pass, and when it is tried again

    def as_json(self) -> dict[str, Any]:
        """The explanation for machines."""
        return asdict(self)


def rate_in_words(candidate: Mapping[str, Any]) -> str:
    """A candidate's delivery rate and how many messages it rests on, for people."""
    score, count = candidate["score"], round(candidate["evidence"])
    if score is None:
        return "unknown"
    if count < 1:
        return f"{100 * score:.0f} % expected, no receipts yet"
    digits = 1 if count >= ENOUGH_FOR_A_DECIMAL else 0
    return f"{100 * score:.{digits}f} % of about {quantity(count, 'message')}"


def explain(
    request: RoutingRequest,
    *,
    planner: Planner,
    now: datetime,
    message: OutboundMessage | None = None,
) -> Explanation:
    """Decide as the queue would decide now; nothing is written or reserved."""
    destination = request.destination
    route = planner.route(destination, now=now)
    if route is None:
        return _explanation(
            request, why=f"No active route of {destination.channel.label} covers it."
        )
    if message is not None:
        request = request._replace(
            unsuitable=Suitability(route.providers).unsuitable(
                message, country=destination.country
            )
        )
    snapshot = replace(
        planner.snapshot(now=now), capacity=read_capacity(route.providers)
    )
    choices = planner.choices(
        route, request, now=now, turn=next_turn(route), snapshot=snapshot
    )
    decision = first_choice(route, choices)
    reason = decision.fallback_reason if decision else None
    return _explanation(
        request,
        route=_as_dict(route),
        candidates=_candidates(route, choices, snapshot, now),
        chosen=decision.provider if decision else None,
        fallback_reason=None if reason is None else reason.label,
        why=NO_PROVIDER_CAN
        if is_hopeless(route, choices)
        else _why(route, decision.provider if decision else None, reason)
        + ("" if decision else _until(route, choices, planner, now)),
        retries=_retries(
            route.channel,
            decision.provider if decision else route.providers[0],
            planner.retry_table(now=now),
        ),
    )


def retries_in_words(explanation: Explanation) -> str:
    """What may pass, and after which times it is tried again, for people."""
    return "; ".join(
        f"{each['error_class'].lower()}: "
        + in_words([timedelta(seconds=seconds) for seconds in each["delays_seconds"]])
        for each in explanation.retries
    )


def _retries(
    channel: Channel, provider: str, table: RetryTable
) -> list[dict[str, Any]]:
    """The rules for all codes of a provider; a code may have one of its own."""
    rules = [
        table.rule(Failure(channel, provider, error_class, ""))
        for error_class in sorted(PASSING - OF_OTHER_CHANNELS[channel])
    ]
    return [
        {
            "error_class": rule.error_class.label,
            "delays_seconds": [int(each.total_seconds()) for each in rule.delays],
        }
        for rule in rules
        if rule
    ]


def _until(route: Route, choices: Choices, planner: Planner, now: datetime) -> str:
    """What rules the route's providers out, their last errors, and the next try: of the
    message, or of any that an outage holds.
    """
    errors: dict[str, str] = {}
    for attempt in latest_attempts(now=now):
        if attempt.error and attempt.channel == route.channel:
            errors.setdefault(attempt.provider, attempt.error)
    reasons = [
        f"{each.provider}: {each.verdict.reason.rstrip('.')}"
        + (f" (last error: {errors[each.provider]})" if each.provider in errors else "")
        for each in choices.within(route.thresholds).candidates
        if each.verdict
    ]
    out = outage_sentences(planner.outages(now=now), now=now)
    held = [
        text
        for terms, text in out.items()
        if terms.channel == route.channel
        and route.scope.campaign_kind in (None, terms.kind)
    ]
    next_try = f"Next try {utc_clock(next_try_at(route, choices, now=now))}."
    return " " + " ".join(
        [*(f"{each}." for each in reasons), *(held[:1] or [next_try])]
    )


def _candidates(
    route: Route, choices: Choices, snapshot: ProviderSnapshot, now: datetime
) -> list[dict[str, Any]]:
    breakers = snapshot.health[route.channel].breakers
    return [
        describe(each, route)
        | {
            "breaker": describe_breaker(breakers.get(each.provider), now),
            "throttle": snapshot.capacity.describe(each.provider, now),
        }
        for each in choices.within(route.thresholds).candidates
    ]


def _explanation(request: RoutingRequest, **found: Any) -> Explanation:
    nothing: dict[str, Any] = {
        "route": None,
        "candidates": [],
        "chosen": None,
        "fallback_reason": None,
        "retries": [],
    }
    return Explanation(
        to=request.destination.recipient,
        country=request.destination.country,
        segments=request.segments,
        **(nothing | found),
    )


def _why(route: Route, chosen: str | None, reason: FallbackReason | None) -> str:
    strategy = route.strategy.label
    if chosen is None:
        return f"{strategy} finds no provider that may be used: the message waits."
    if reason is None:
        return f"{chosen} is the choice of {strategy}."
    return f"{chosen} is a fallback from the choice of {strategy}: {reason.label}."


def _as_dict(route: Route) -> dict[str, Any]:
    kind = route.scope.campaign_kind
    return {
        "id": route.config_id,
        "channel": route.channel.label,
        "strategy": route.strategy.label,
        "priority": route.priority,
        "scope": str(route.scope),
        "country": route.scope.country,
        "dial_prefix": route.scope.dial_prefix,
        "campaign_kind": None if kind is None else kind.label,
        "is_fallback_enabled": route.is_fallback_enabled,
    }
