"""Calls to providers: which messages share one, and the window of those under way.

Some providers accept several messages in one call. It is on each message's row before
it is made, and its results are reported per message (`routing.dispatch`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Thread

from messaging.queue.claimed import Claimed
from routing.dispatch import (
    SendRequest,
    SendResult,
    batch_key,
    batch_size,
    given_up,
    send,
)
from routing.providers.base import ALONE_FROM_NOW_ON
from routing.rules.decide import Decision
from routing.vocabulary import ErrorClass

logger = logging.getLogger(__name__)

Call = Sequence[Claimed]  # the messages that share one call; mostly a single message
Done = tuple[Claimed, SendResult]
# The most messages under way per call in the window: a crash puts them at risk.
PER_PLACE = 5
NO_THREAD = (
    "The host allows no thread to call providers in: check its limits on processes and "
    "memory (ulimit -u, the container's pids)."
)

_Key = tuple[str, Hashable]


@dataclass(slots=True)
class _Filling:
    members: list[int] = field(default_factory=list)  # their indexes in the claim
    recipients: set[str] = field(default_factory=set)

    def takes(self, recipient: str, size: int) -> bool:
        """One message per recipient: providers report on a call by recipient."""
        return len(self.members) < size and recipient not in self.recipients


def share_calls(claimed: Sequence[Claimed]) -> list[Claimed]:
    """The same messages in the same order, each with the call that it shares.

    The provider says which messages may share a call, and how many.
    """
    shared = list(claimed)
    names = {each.decision.provider for each in claimed}
    sizes = {name: size for name in names if (size := batch_size(name)) > 1}
    if not sizes:
        return shared
    for members in _calls(claimed, sizes):
        if len(members) > 1:
            decisions: dict[int, Decision] = {}  # equal ones are made once
            for place in members:
                shared[place] = _sharing(
                    claimed[place], claimed[members[0]], len(members), decisions
                )
    return shared


def calls_of(claimed: Iterable[Claimed]) -> Collection[list[Claimed]]:
    """The messages of each call, in order of their first messages."""
    calls: dict[int, list[Claimed]] = {}
    for each in claimed:
        calls.setdefault(each.call_id or each.message_id, []).append(each)
    return calls.values()


def _calls(
    claimed: Sequence[Claimed], sizes: dict[str, int]
) -> Iterable[Sequence[int]]:
    filling: dict[_Key, _Filling] = {}
    calls: list[_Filling] = []
    for place, each in enumerate(claimed):
        if (key := _shared_key(each, sizes)) is None:
            continue
        call, recipient = filling.get(key), each.content.recipient.lower()
        if call is None or not call.takes(recipient, sizes[each.decision.provider]):
            call = filling[key] = _Filling()
            calls.append(call)
        call.members.append(place)
        call.recipients.add(recipient)
    return [call.members for call in calls]


def _shared_key(claimed: Claimed, sizes: Collection[str]) -> _Key | None:
    provider = claimed.decision.provider
    if provider not in sizes or not _may_share(claimed):
        return None
    key = batch_key(provider, claimed.content)
    return None if key is None else (provider, key)


def _may_share(claimed: Claimed) -> bool:
    """A probe is one message. A message that may have crashed a worker or failed a
    shared call goes alone, or it would fail others too.
    """
    return claimed.probe_token is None and not any(
        past.error_class == ErrorClass.UNKNOWN or past.error_code == ALONE_FROM_NOW_ON
        for past in claimed.past_attempts
    )


def _sharing(
    claimed: Claimed, first: Claimed, count: int, decisions: dict[int, Decision]
) -> Claimed:
    decision = decisions.get(id(claimed.decision))
    if decision is None:
        about = {"call_id": first.message_id, "shared_with": count - 1}
        decision = replace(claimed.decision, record=claimed.decision.record | about)
        decisions[id(claimed.decision)] = decision
    return claimed._replace(decision=decision, call_id=first.message_id)


logger = logging.getLogger(__name__)


class Window:
    """Sends messages in its own threads, at most `size` calls at once.

    The threads only call providers; they never touch the database. A call that has not
    ended after `patience`, whatever its adapter promised, is given up, so that it holds
    up neither the window nor a worker that wants to leave. Its thread is left behind;
    if it returns after all, so does its result.
    """

    def __init__(
        self, *, size: int, clock: Callable[[], datetime], patience: timedelta
    ) -> None:
        self.size = size
        self._clock = clock
        self._patience = patience
        self.messages = 0  # under way
        self._under_way: dict[str, tuple[Call, datetime, float]] = {}
        self._left_behind = 0
        self._threads = 0
        self._work: SimpleQueue[Call | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Call, list[SendResult]]] = SimpleQueue()

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many more messages could start now if each went alone."""
        return min(self.size - self.in_flight, PER_PLACE * self.size - self.messages)

    def start(self, *call: Claimed) -> None:
        """Send messages in one call, in a new thread or the next free one."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        self._under_way[_name_of(call)] = call, self._clock(), give_up_at
        self.messages += len(call)
        self._work.put(call)
        if self._threads < self.in_flight + self._left_behind:
            self._add_thread()

    def finished(self, *, wait: float, at_most: int) -> list[Done]:
        """The results of at most `at_most` ended calls; waits up to `wait` seconds for
        the first.
        """
        ended = []
        try:
            ended.append(self._done.get(timeout=wait))
            while len(ended) < at_most:
                ended.append(self._done.get_nowait())
        except Empty:
            pass
        done: list[Done] = []
        for call, send_results in ended:
            if self._under_way.pop(_name_of(call), None) is None:
                self._left_behind -= 1  # given up earlier, but back after all
            else:
                self.messages -= len(call)
            done += zip(call, send_results, strict=True)
        return done + self._overdue()

    def close(self) -> None:
        """End the threads, which are idle by now except for those left behind."""
        for _ in range(self._threads):
            self._work.put(None)

    def _add_thread(self) -> None:
        """Add a thread; if the host allows no more, shrink the window to those left."""
        try:
            Thread(target=self._send_all, name="sender", daemon=True).start()
        except RuntimeError as error:
            left = self._threads - self._left_behind
            if left < 1:
                raise RuntimeError(NO_THREAD) from error
            if left < self.size:
                logger.warning("The host allows no more than %d sender threads.", left)
                self.size = left
        else:
            self._threads += 1

    def _overdue(self) -> list[Done]:
        """Give up calls whose adapter hangs. The oldest call comes first."""
        now, overdue = time.monotonic(), []
        for key, (call, started_at, give_up_at) in list(self._under_way.items()):
            if give_up_at > now:
                break
            del self._under_way[key]
            self.messages -= len(call)
            self._left_behind += 1
            lost = given_up(
                provider_name=call[0].decision.provider,
                attempted_at=started_at,
                after=self._patience,
            )
            overdue += [(claimed, lost) for claimed in call]
        return overdue

    def _send_all(self) -> None:
        while call := self._work.get():
            self._done.put((call, self._send(call)))

    def _send(self, call: Call) -> list[SendResult]:
        """Make one call; its messages share the provider and the lease."""
        return send(
            provider_name=call[0].decision.provider,
            requests=[_send_request(claimed) for claimed in call],
            not_after=call[0].lease_expires_at,
            clock=self._clock,
        )


def _send_request(claimed: Claimed) -> SendRequest:
    return SendRequest(
        claimed.content, claimed.request.segments, claimed.decision.estimate
    )


def _name_of(call: Call) -> str:
    """The reference of the first message: its id and attempt number."""
    return call[0].content.reference
