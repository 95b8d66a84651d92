"""The providers of MESSAGE_PROVIDERS as people run them: set up, paused, in use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from urllib.parse import urlsplit

from django.conf import settings

from routing.health.breakers import describe_breaker
from routing.health.throttles import read_capacity
from routing.models import ProviderHealth, ProviderPause
from routing.providers.base import Provider
from routing.providers.options import is_secret
from routing.providers.registry import registry
from routing.rules.breaker import Breaker, BreakerState
from routing.rules.pause import Pause, describe, longest_by_provider
from routing.vocabulary import Channel, ProviderState

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BY_BREAKER = {
    BreakerState.CLOSED: ProviderState.IN_USE,
    BreakerState.OPEN: ProviderState.OUT_OF_USE,
    BreakerState.HALF_OPEN: ProviderState.TRIED_AGAIN,
}


@dataclass(frozen=True, slots=True)
class Overview:
    """A provider: how it is set up, and whether messages go to it."""

    name: str
    channel: Channel
    problem: str  # what its configuration lacks; "" for nothing
    account: str  # in use; "" if the configuration names none
    is_simulated: bool
    sends_receipts: bool
    throttle: str  # in words
    breaker: Breaker = field(default_factory=Breaker)
    pauses: tuple[ProviderPause, ...] = ()  # in force and planned, by their beginning
    now: datetime = field(kw_only=True)

    @property
    def pause(self) -> Pause | None:
        """The pause in force."""
        pauses = (each.pause for each in self.pauses)
        in_force = [each for each in pauses if each.is_in_force(self.now)]
        return longest_by_provider(in_force).get(self.name)

    @property
    def state(self) -> ProviderState:
        """Whether messages go to it."""
        if self.problem:
            return ProviderState.NOT_CONFIGURED
        return ProviderState.PAUSED if self.pause else _BY_BREAKER[self.breaker.state]

    @property
    def in_words(self) -> str:
        """Its state, with the reason, and from when until when."""
        if self.problem:
            return self.problem
        if self.pause:
            return describe(self.pause, self.now)
        return describe_breaker(self.breaker, self.now)

    @property
    def planned(self) -> list[str]:
        """The pauses that are to come, in words."""
        pauses = (each.pause for each in self.pauses)
        return [describe(each, self.now) for each in pauses if each.since > self.now]

    @property
    def may_be_paused(self) -> bool:
        """Whether it is not paused already."""
        return self.pause is None

    @property
    def may_be_resumed(self) -> bool:
        """Whether a pause is in force, or planned."""
        return bool(self.pauses)

    @property
    def may_be_probed(self) -> bool:
        """Whether it is out of use, and the next message may be made to try it."""
        return self.state in (ProviderState.OUT_OF_USE, ProviderState.TRIED_AGAIN)

    @property
    def acts(self) -> dict[str, str]:
        """What a person can do with it now: the name of each act, and its label."""
        resume = "Resume" if self.pause else "Call off the pause"
        labels = {
            "pause": "Pause" if self.may_be_paused else "",
            "resume": resume if self.may_be_resumed else "",
            "probe": "Try now" if self.may_be_probed else "",
        }
        return {act: label for act, label in labels.items() if label}


def overviews(*, now: datetime, also: Iterable[tuple[int, str]] = ()) -> list[Overview]:
    """All providers of MESSAGE_PROVIDERS, by channel, in the settings' order; and
    others `also`, by channel and name, that are not among them any more.
    """
    known = [(channel, name) for channel in Channel for name in registry.names(channel)]
    places = sorted(dict.fromkeys([*known, *sorted(also)]), key=itemgetter(0))
    capacity = read_capacity(name for _, name in places)
    health = {row.provider: row.breaker for row in ProviderHealth.objects.all()}
    pauses: dict[str, list[ProviderPause]] = {}
    for row in ProviderPause.objects.open(now).order_by("since", "id"):
        pauses.setdefault(row.provider, []).append(row)
    return [
        Overview(
            name,
            Channel(channel),
            *_set_up(name),
            throttle=capacity.describe(name, now),
            breaker=health.get(name, Breaker()),
            pauses=tuple(pauses.get(name, ())),
            now=now,
        )
        for channel, name in places
    ]


def overview(name: str, *, now: datetime) -> Overview:
    """One of them; raises UnknownProvider."""
    registry.provider_class(name)
    return next(each for each in overviews(now=now) if each.name == name)


def _set_up(name: str) -> tuple[str, str, bool, bool]:
    """What it lacks, its account, and whether it is simulated and sends receipts."""
    problem = registry.problem_with(name)
    if name not in registry.names():
        return problem, "", False, False
    sends_receipts = registry.provider_class(name).sends_receipts()
    if problem:
        return problem, "", False, sends_receipts
    provider = registry.get(name)
    return "", _account(provider), _is_simulated(provider), sends_receipts


def _account(provider: Provider) -> str:
    """The account and the sender. Of keys, only that there is one."""
    option = provider.account_option
    value = str(provider.options.get(option) or "")
    shown = "is set" if is_secret(option) else f"ends in {value[-4:]}"
    named = f"{option} {shown}" if value else ""
    sender = f"from {provider.sender}" if provider.sender else ""
    return ", ".join(filter(None, [named, sender]))


def _is_simulated(provider: Provider) -> bool:
    """Whether its messages reach nobody."""
    if not provider.is_real:
        return True
    host = urlsplit(str(provider.options.get("BASE_URL", ""))).hostname
    has_simulator = settings.PROVIDER_SIMULATOR_PORT is not None and provider.simulator
    return bool(has_simulator) or host in LOOPBACK
