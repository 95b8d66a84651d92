"""What a strategy is given and returns, and the two that keep to the route's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from routing.money import Money
from routing.vocabulary import FallbackReason

MIN_EVIDENCE = 50.0  # messages before a delivery rate may move traffic


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a message may not go to a provider now, and until when."""

    reason: str  # in words
    # What a fallback from this provider to another is recorded as.
    fallback_reason: FallbackReason = FallbackReason.PROVIDER_UNAVAILABLE
    until: datetime | None = None  # when it may change; None: nobody knows
    is_for_good: bool = False  # the provider can never carry this message
    may_be_probed: bool = False  # one message may try the provider all the same


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider of the route as it stands at the moment of the decision."""

    provider: str
    verdict: Verdict | None = None  # None: it may be used
    weight: int = 1  # its share of a RoundRobin route; 0 is none
    price: Decimal | None = None  # of the message, in the route's currency; or unknown
    quality: float | None = None  # estimated delivery rate, 0.0 to 1.0; None: unknown
    evidence: float = 0.0  # messages that the quality rests on
    estimate: Money | None = None  # the price, in whichever currency it is known
    # Its breaker is open, has just closed, or would be open if there were another.
    is_failing: bool = False
    has_only_failed: bool = False  # lately, as far as is remembered

    @property
    def is_eligible(self) -> bool:
        """Whether the message may go to it now."""
        return self.verdict is None

    @property
    def is_unsuitable(self) -> bool:
        """Whether it can never carry the message."""
        return self.verdict is not None and self.verdict.is_for_good


@dataclass(frozen=True, slots=True)
class Context:
    """What else a strategy may base its choice on.

    `draw` is a random number that the caller draws once per decision. So the same
    candidates and context always give the same choice, and a decision can be replayed.
    """

    turn: int = 0  # of the message, from the route's counter, which all workers share
    draw: float = 1.0  # uniform in [0, 1)
    may_explore: bool = False  # whether the message may be used to gather evidence
    min_evidence: float = MIN_EVIDENCE


NO_CONTEXT = Context()


class Strategy(Protocol):
    """Picks among the candidates of a route, which come in the route's order.

    Pure: called by `routing.rules.decide`, with all it may use as arguments.
    """

    def __call__(
        self, candidates: Sequence[Candidate], context: Context = NO_CONTEXT
    ) -> Candidate | None:
        """The candidate to try first, or None if none is eligible."""


def primary(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The first candidate, if it may be used now."""
    first = candidates[0]
    return first if first.is_eligible else None


def fallback(
    candidates: Sequence[Candidate], context: Context = NO_CONTEXT
) -> Candidate | None:
    """The first eligible candidate, in the route's order."""
    return next(filter(lambda candidate: candidate.is_eligible, candidates), None)
