"""What will become of messages whose outcome is unknown, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from routing.text.moments import moment
from routing.text.quantities import quantity


def outlook(
    *, provider: str, next_at: datetime, deadline: datetime, now: datetime
) -> str:
    """What comes next for one message. `next_at` is when its provider is asked, or the
    deadline if it is not.
    """
    fails = f"fails at {moment(deadline, now=now)} if nobody can say"
    if next_at >= deadline:
        return f"Waits for a receipt; {fails}."
    at = "now" if next_at <= now else f"at {moment(next_at, now=now)}"
    return f"{provider} is asked {at}; {fails}."


@dataclass(frozen=True, slots=True)
class Awaiting:
    """The messages of one provider that wait for a verdict."""

    provider: str
    count: int
    first_deadline: datetime
    last_deadline: datetime
    is_asked: bool  # whether the provider can be asked
    routes: Sequence[int] = ()  # those that wait for a verdict, and use it

    def described(self, *, now: datetime) -> str:
        """Such as "120 messages of unknown outcome at TwilioSMS: each is looked up
        until 14:05 UTC, then fails (route 1 waits)".
        """
        first, last = (
            moment(each, now=now) for each in (self.first_deadline, self.last_deadline)
        )
        until = first if first == last else f"a time from {first} to {last}"
        asked = "is looked up" if self.is_asked else "waits for a receipt"
        return (
            f"{quantity(self.count, 'message')} of unknown outcome at {self.provider}: "
            f"each {asked} until {until}, then fails{self._why}"
        )

    @property
    def _why(self) -> str:
        if not self.routes:
            return ""
        names = ", ".join(map(str, self.routes))
        waits = "route {} waits" if len(self.routes) == 1 else "routes {} wait"
        return f" ({waits.format(names)})"
