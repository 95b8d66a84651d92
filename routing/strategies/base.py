"""What a routing strategy is given, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

MIN_EVIDENCE = 50.0  # messages before a delivery rate may move traffic


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider of the route as it stands at the moment of the decision."""

    provider: str
    verdict: str = ""  # why it may not be used now, "" when it may
    weight: int = 1  # its share of a RoundRobin route; 0 is none
    price: Decimal | None = None  # of the whole message, in one currency; None: unknown
    quality: float | None = None  # estimated delivery rate, 0.0 to 1.0; None: unknown
    evidence: float = 0.0  # messages that the quality rests on

    @property
    def is_eligible(self) -> bool:
        """Whether the message may go to it now."""
        return not self.verdict


@dataclass(frozen=True, slots=True)
class Context:
    """What else a strategy may decide from.

    `draw` is chance, drawn once per decision by the caller, so that the same candidates
    and context always give the same choice, and a decision can be replayed.
    """

    turn: int = 0  # of this message at the route, from a counter all workers share
    draw: float = 1.0  # uniform in [0, 1)
    may_explore: bool = False  # whether the message may try a provider for its evidence
    min_evidence: float = MIN_EVIDENCE


NO_CONTEXT = Context()


class Strategy(Protocol):
    """Picks among the candidates of a route, which come in the route's order.

    Pure: called by `routing.rules.decide`, with everything it may know as arguments.
    """

    def __call__(
        self, candidates: Sequence[Candidate], context: Context = NO_CONTEXT
    ) -> Candidate | None:
        """The candidate to send by first, or None when it finds none."""
