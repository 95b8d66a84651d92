"""Why a message would go where it would go: the real decision, without sending."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from routing.decide import describe, first_choice, screened_choices
from routing.planner import Parcel, Planner, look_around, next_turn
from routing.route import Route
from routing.vocabulary import FallbackReason


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and what it was made from, for commands, endpoints and screens."""

    to: str
    country: str
    segments: int
    route: dict[str, Any] | None
    candidates: list[dict[str, Any]]  # in the route's order
    chosen: str | None  # None: the message would wait
    fallback_reason: str | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """The explanation for machines."""
        return asdict(self)


def explain(parcel: Parcel, *, planner: Planner, now: datetime) -> Explanation:
    """Decide as the queue would decide now; nothing is written or reserved."""
    destination = parcel.destination
    route = planner.route(destination, now=now)
    if route is None:
        return _explanation(
            parcel, why=f"No active route of {destination.channel.label} covers it."
        )
    surroundings = look_around([route.channel], now=now)
    choices = planner.choices(
        route, parcel, now=now, turn=next_turn(route), surroundings=surroundings
    )
    decision = first_choice(route, choices)
    reason = decision.fallback_reason if decision else None
    return _explanation(
        parcel,
        route=_as_dict(route),
        candidates=[
            describe(each, route)
            for each in screened_choices(route, choices).candidates
        ],
        chosen=decision.provider if decision else None,
        fallback_reason=None if reason is None else reason.label,
        why=_why(route, decision.provider if decision else None, reason),
    )


def _explanation(parcel: Parcel, **found: Any) -> Explanation:
    nothing: dict[str, Any] = {
        "route": None,
        "candidates": [],
        "chosen": None,
        "fallback_reason": None,
    }
    return Explanation(
        to=parcel.destination.recipient,
        country=parcel.destination.country,
        segments=parcel.segments,
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
        "country": route.scope.country,
        "dial_prefix": route.scope.dial_prefix,
        "campaign_kind": None if kind is None else kind.label,
        "is_fallback_enabled": route.is_fallback_enabled,
    }
