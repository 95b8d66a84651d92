"""Whether this host reaches the providers; a worker that does not stands aside.

It would fail message after message, and the breakers that it opens are shared by all
workers. What is this host's own fault counts against no provider: the messages go back
unharmed, and the worker claims nothing for a while, then one message at a time until a
provider answers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from messaging.queue.claimed import Claimed
from routing.dispatch import SendResult
from routing.models import MessageDeliveryAttempt
from routing.providers.base import HostFault, NotCalled, Unreached
from routing.timer import Timer
from routing.vocabulary import AttemptOutcome

logger = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=1)  # doubles each time
LONGEST_PAUSE = timedelta(minutes=1)
LATELY = timedelta(minutes=1)

Ended = Sequence[tuple[Claimed, SendResult]]


class Reach:
    """One worker's experience with reaching providers."""

    def __init__(self) -> None:
        self.trouble = ""  # why it stands aside; "" while calls reach a provider
        self._unreached_since: dict[str, datetime] = {}
        self._reached_at: dict[str, datetime] = {}
        self._pause = timedelta(0)
        self._timer = Timer(self._pause, is_over=True)

    @property
    def is_aside(self) -> bool:
        """Whether the worker should claim nothing now."""
        return not self._timer.is_over()

    def heed(self, ended: Ended, *, now: datetime) -> Ended:
        """The results, with each failure to reach a provider that is this host's own
        fault as such. Harmless if repeated.

        It is if other workers have reached the provider since this one first failed to;
        or if there is no way to it, and none to another provider either.
        """
        reached = {done.provider for _, done in ended if _is_reached(done)}
        for provider in reached:
            self._unreached_since.pop(provider, None)
            self._reached_at[provider] = now
        unreached = [done for _, done in ended if isinstance(done.failure, Unreached)]
        for done in unreached:
            if done.provider not in reached:
                self._unreached_since.setdefault(done.provider, done.attempted_at)
        failing = {done.provider for done in unreached} - reached
        by_others = {each for each in failing if self._do_others_reach(each, now)}
        heeded = [
            (claimed, self._blamed(done, failing, by_others)) for claimed, done in ended
        ]
        self._step_aside([done for _, done in heeded], is_reached=bool(reached))
        return heeded

    def _do_others_reach(self, provider: str, now: datetime) -> bool:
        since = max(self._unreached_since[provider], now - LATELY)
        return MessageDeliveryAttempt.objects.filter(
            provider=provider, outcome=AttemptOutcome.ACCEPTED, attempted_at__gt=since
        ).exists()

    def _blamed(
        self, done: SendResult, failing: set[str], by_others: set[str]
    ) -> SendResult:
        failure = done.failure
        if not isinstance(failure, Unreached) or done.provider not in failing:
            return done
        is_elsewhere_reached = any(
            at > self._unreached_since[done.provider]
            for at in self._reached_at.values()
        )
        if done.provider in by_others:
            return done._replace(
                failure=HostFault(f"Only this host does not reach it: {failure}")
            )
        if failure.may_be_ours and not is_elsewhere_reached:
            return done._replace(failure=HostFault(str(failure), elsewhere=True))
        return done

    def _step_aside(self, ended: Iterable[SendResult], *, is_reached: bool) -> None:
        """A longer pause each time, as long as no provider is reached."""
        if is_reached:
            self._pause, self.trouble = timedelta(0), ""
        ours = [done for done in ended if isinstance(done.failure, HostFault)]
        if not ours or self.is_aside:
            return
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._timer = Timer(self._pause)
        self.trouble = f"{ours[0].provider}: {ours[0].failure}"[:300]
        logger.error(
            "Standing aside for %d s, as this host cannot call: %s",
            self._pause.total_seconds(),
            self.trouble,
        )


def _is_reached(done: SendResult) -> bool:
    """Whether the provider was connected to, whatever it said then."""
    return not isinstance(done.failure, Unreached | NotCalled)
