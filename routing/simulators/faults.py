"""The faults that a simulated provider can have, and for how long.

Pure: chance and time come in from outside. `http_faults` and `smtp_faults` implement
each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random


class FaultKind(StrEnum):
    """The ways in which a provider fails."""

    SLOW = "slow"  # does its work, answers `delay` seconds later
    ERROR = "error"  # answers with `code`, `status` and `message`
    THROTTLE = "throttle"  # asks to slow down, for `retry_after` seconds if given
    UNAVAILABLE = "unavailable"  # 503, or SMTP 421
    HANG = "hang"  # reads the request, never answers
    DROP = "drop"  # reads the request, then resets the connection
    REFUSE = "refuse"  # the vendor's listener is closed
    GARBAGE = "garbage"  # a good status with a body that cannot be parsed
    HUGE = "huge"  # a good status with `megabytes` of body
    DRIP = "drip"  # the real answer, a byte every `interval` seconds


_TAKEN_BY_DEFAULT = {
    FaultKind.SLOW,
    FaultKind.GARBAGE,
    FaultKind.HUGE,
    FaultKind.DRIP,
}


class BadFault(ValueError):
    """The description of the fault is invalid."""


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _share(value: object) -> float:
    share = float(str(value))
    if not 0 <= share <= 1:
        raise ValueError("expected a number from 0 to 1")
    return share


def _number(value: object) -> float:
    number = float(str(value))
    if number < 0:
        raise ValueError("expected a number from 0 up")
    return number


def _count(value: object) -> int:
    return int(_number(value))


def _retry_after(value: object) -> int | str:
    """Seconds, or any text: providers use this header in their own ways."""
    return value if isinstance(value, str) else _count(value)


def _stage(value: object) -> str:
    stage = str(value).upper()
    if stage not in {"AUTH", "MAIL", "RCPT", "DATA"}:
        raise ValueError("expected AUTH, MAIL, RCPT or DATA")
    return stage


_READERS: dict[str, Callable[[object], object]] = {
    "kind": lambda value: FaultKind(str(value)),
    "seconds": _number,
    "count": _count,
    "share": _share,
    "delay": _number,
    "code": str,
    "status": _count,
    "message": str,
    "retry_after": _retry_after,
    "accepted": _flag,
    "stage": _stage,
    "interval": _number,
    "megabytes": _count,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, for which requests, and until when."""

    kind: FaultKind
    seconds: float | None = None  # ends by itself after this time
    count: int | None = None  # strikes this many requests and no more
    share: float = 1.0  # strikes a request with this probability
    delay: float = 5.0
    code: str = ""  # the provider's own
    status: int | None = None  # of HTTP; None: the one that goes with the code
    message: str = ""
    retry_after: int | str | None = None  # seconds or text; None sends no such header
    accepted: bool | None = None  # whether the message is delivered all the same
    stage: str = ""  # of SMTP; "": the one that fits the kind
    interval: float = 0.05
    megabytes: int = 64

    @classmethod
    def read(cls, description: Mapping[str, object]) -> Fault:
        """Read a description from outside; raises BadFault if it is invalid."""
        try:
            fault = cls(**{k: _READERS[k](v) for k, v in description.items()})  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise BadFault(
                f"Not a fault: {error}. Parameters: {', '.join(_READERS)}; "
                f"kinds: {', '.join(FaultKind)}."
            ) from error
        if fault.kind is FaultKind.REFUSE and (fault.count or fault.share < 1):
            raise BadFault("A closed listener takes `seconds`, not `count` or `share`.")
        return fault

    @property
    def is_taken(self) -> bool:
        """Whether the message is accepted although the answer goes wrong."""
        if self.accepted is None:
            return self.kind in _TAKEN_BY_DEFAULT
        return self.accepted

    def describe(self) -> dict[str, object]:
        """The parameters that differ from their defaults, for people and JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in values.items() if value != plain[key]}


@dataclass(slots=True)
class _ActiveFault:
    fault: Fault
    ends_at: float | None
    strikes_left: int | None


class FaultBoard:
    """The current faults, at most one per provider."""

    def __init__(self, *, random: Random, clock: Callable[[], float]) -> None:
        self._random = random
        self._clock = clock
        self._active: dict[str, _ActiveFault] = {}

    def put(self, provider: str, fault: Fault) -> None:
        """Start a fault, in place of the provider's last one."""
        ends_at = None if fault.seconds is None else self._clock() + fault.seconds
        self._active[provider] = _ActiveFault(fault, ends_at, fault.count)

    def clear(self, provider: str | None = None) -> None:
        """End the faults of one provider, or of all."""
        if provider is None:
            self._active.clear()
        else:
            self._active.pop(provider, None)

    def current(self, provider: str) -> Fault | None:
        """The provider's fault while it lasts; this does not use it up."""
        active = self._active.get(provider)
        if active is None:
            return None
        if active.ends_at is not None and self._clock() >= active.ends_at:
            del self._active[provider]
            return None
        return None if active.strikes_left == 0 else active.fault

    def strike(
        self, provider: str, *, stages: frozenset[str] | None = None
    ) -> Fault | None:
        """The fault that strikes this request, if any; uses up one of `count`.

        With `stages`, a fault of another stage is left for later. A closed listener
        affects connections, not requests.
        """
        fault = self.current(provider)
        if fault is None or fault.kind is FaultKind.REFUSE:
            return None
        if stages is not None and fault.stage not in stages:
            return None
        if fault.share < 1 and self._random.random() >= fault.share:
            return None
        active = self._active[provider]
        if active.strikes_left is not None:
            active.strikes_left -= 1
        return fault

    def describe(self) -> dict[str, dict[str, object]]:
        """The current faults by provider, for the control port."""
        current = {provider: self.current(provider) for provider in [*self._active]}
        return {name: fault.describe() for name, fault in current.items() if fault}
