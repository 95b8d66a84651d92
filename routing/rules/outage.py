"""Outages: none of the providers for a kind of messages may be used.

Then its messages wait in their lanes, due as before: none is claimed, changed or
failed. One at a time probes a provider that is due for it; when one accepts again, the
others follow at a growing rate.

Pure: routes and breakers in, outages out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from routing.rules.breaker import Breaker, may_probe
from routing.rules.pause import Pause
from routing.rules.route import Route
from routing.text.moments import utc_clock, utc_moment
from routing.vocabulary import CampaignKind, Channel


class Terms(NamedTuple):
    """What messages of a lane have in common for routes."""

    channel: Channel
    kind: CampaignKind


@dataclass(frozen=True, slots=True)
class Out:
    """A provider that may not be used: it is misconfigured, paused, or out of use."""

    provider: str
    problem: str = ""  # in its configuration
    breaker: Breaker = field(default_factory=Breaker)
    pause: Pause | None = None

    @property
    def is_failing(self) -> bool:
        """Whether it is out of use because its calls fail."""
        return not self.problem and not self.pause

    @property
    def since(self) -> datetime | None:
        """When it went out of use; None if unknown."""
        paused_since = self.pause and self.pause.since
        times = [each for each in (paused_since, self.breaker.out_since) if each]
        return min(times, default=None)

    def probe_at(self, now: datetime) -> datetime | None:
        """When a message may try it, now or later; None: a person must act first."""
        if self.problem:
            return None
        if self.pause:
            return self.pause.until
        if may_probe(self.breaker, now):
            return now
        return self.breaker.open_until or self.breaker.probe_until


@dataclass(frozen=True, slots=True)
class Outage:
    """Why no message of these terms may leave."""

    terms: Terms
    providers: tuple[Out, ...]

    @property
    def since(self) -> datetime | None:
        """When the last of the providers went out of use; None if unknown."""
        times = [each.since for each in self.providers]
        return max((each for each in times if each), default=None)

    def next_try_at(self, now: datetime) -> datetime | None:
        """When a message next probes a provider; None: a person must act first."""
        times = [each.probe_at(now) for each in self.providers]
        return min((each for each in times if each), default=None)

    def probes_due(self, now: datetime) -> int:
        """How many providers may be probed now, by one message each."""
        return sum(each.probe_at(now) == now for each in self.providers)

    @property
    def is_failure(self) -> bool:
        """Whether providers fail; otherwise a person must act, or has done so."""
        return any(each.is_failing for each in self.providers)

    @property
    def is_paused(self) -> bool:
        """Whether a person has paused one of the providers."""
        return any(each.pause for each in self.providers)

    @property
    def cause(self) -> str:
        """Which providers fail, and how: "TwilioSMS and VonageSMS fail (503, 401)";
        which are paused, and why: "TwilioSMS is paused (contract ended)".
        """
        failing = [each for each in self.providers if each.is_failing]
        paused = [each.pause for each in self.providers if each.pause]
        problems = [each.problem.rstrip(".") for each in self.providers if each.problem]
        return "; ".join([*_failing(failing), *map(_paused, paused), *problems])


def _paused(pause: Pause) -> str:
    return f"{pause.provider} is paused ({pause.reason.rstrip('.')})"


def _failing(providers: Sequence[Out]) -> Iterator[str]:
    if providers:
        verb = "fails" if len(providers) == 1 else "fail"
        errors = dict.fromkeys(each.breaker.last_error for each in providers)
        known = ", ".join(filter(None, errors))
        why = f" ({known})" if known else ""
        yield f"{_listed([each.provider for each in providers])} {verb}{why}"


def outages(
    routes: Sequence[Route],
    breakers: Mapping[tuple[str, Channel], Breaker],
    *,
    problem_with: Callable[[str], str],
    pauses: Mapping[str, Pause],
) -> dict[Terms, Outage]:
    """The terms that no provider may be used for. `problem_with` says what is wrong
    with a provider's configuration, "" if nothing is; `pauses` are those in force.
    """

    def out(name: str, channel: Channel) -> Out | None:
        problem, breaker = problem_with(name), breakers.get((name, channel))
        pause = None if problem else pauses.get(name)
        is_out = problem or pause or (breaker and not breaker.is_closed)
        return Out(name, problem, breaker or Breaker(), pause) if is_out else None

    found = {}
    for terms in (Terms(channel, kind) for channel in Channel for kind in CampaignKind):
        names = dict.fromkeys(
            n for each in covering(routes, terms) for n in each.in_use
        )
        outs = [out(name, terms.channel) for name in names]
        if outs and all(outs):
            found[terms] = Outage(terms, tuple(each for each in outs if each))
    return found


def every_terms() -> Iterator[Terms]:
    """All that a lane may have."""
    return (Terms(channel, kind) for channel in Channel for kind in CampaignKind)


def providers_for(routes: Iterable[Route], terms: Terms) -> Sequence[str]:
    """The providers that messages of these terms may go to, in their routes' order."""
    names = (name for each in covering(routes, terms) for name in each.in_use)
    return list(dict.fromkeys(names))


def covering(routes: Iterable[Route], terms: Terms) -> Iterator[Route]:
    """The routes that messages of these terms may take.

    Of those for all destinations only the most specific one is ever chosen.
    """
    matching = [
        each
        for each in routes
        if each.channel == terms.channel
        and each.scope.campaign_kind in (None, terms.kind)
    ]
    general = [each for each in matching if each.scope.is_everywhere]
    yield from (each for each in matching if not each.scope.is_everywhere)
    if general:
        yield max(general, key=lambda each: (each.scope.specificity, each.priority))


def describe(found: Sequence[Outage], now: datetime) -> str:
    """Outages that have the same providers, in one sentence or two: "SMS is on hold
    since 03:12:00 UTC: TwilioSMS fails (503). Next try 03:14:00 UTC."
    """
    first = found[0]
    since = f" since {utc_clock(first.since)}" if first.since else ""
    next_at = first.next_try_at(now)
    if next_at is None:
        what = "resumes a provider" if first.is_paused else "has mended this"
        then = f"It waits until a person {what}."
    elif next_at <= now:
        then = "The next message tries again."
    else:
        then = f"Next try {_next_time(next_at, now)}."
    return f"{_subject(found)} is on hold{since}: {first.cause}. {then}"


def _next_time(at: datetime, now: datetime) -> str:
    """To the second within an hour; a pause may end on another day."""
    return utc_clock(at) if at - now < timedelta(hours=1) else utc_moment(at, now=now)


def alike(found: Iterable[Outage]) -> list[list[Outage]]:
    """Outages by channel and providers: each group can be described together."""
    groups: dict[tuple[Channel, tuple[Out, ...]], list[Outage]] = {}
    for each in found:
        groups.setdefault((each.terms.channel, each.providers), []).append(each)
    return list(groups.values())


def _subject(found: Sequence[Outage]) -> str:
    channel = found[0].terms.channel.label
    if len(found) == len(CampaignKind):
        return channel
    return f"{found[0].terms.kind.label} {channel}"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
