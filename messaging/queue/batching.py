"""Calls: which claimed messages are handed over together, where a provider takes many.

Whoever shares a call is on its row before the call is made. What comes of it is told of
each message by itself (`routing.dispatch`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from messaging.queue.claimed import Claimed
from routing.dispatch import batch_key, batch_size
from routing.providers.base import ALONE_FROM_NOW_ON
from routing.rules.decide import Decision
from routing.vocabulary import ErrorClass

_Key = tuple[str, Hashable]


@dataclass(slots=True)
class _Call:
    members: list[int] = field(default_factory=list)  # their places in the claim
    recipients: set[str] = field(default_factory=set)

    def takes(self, recipient: str, size: int) -> bool:
        """Providers tell the messages of a call apart by their recipients."""
        return len(self.members) < size and recipient not in self.recipients


def share_calls(claimed: Sequence[Claimed]) -> list[Claimed]:
    """The same messages in the same order, with the call that each is to share.

    A call takes as many as its provider says, of those that it says belong together.
    """
    shared = list(claimed)
    names = {each.decision.provider for each in claimed}
    sizes = {name: size for name in names if (size := batch_size(name)) > 1}
    if not sizes:
        return shared
    for members in _calls(claimed, sizes):
        if len(members) > 1:
            decisions: dict[int, Decision] = {}  # one for all that have the same
            for place in members:
                shared[place] = _sharing(
                    claimed[place], claimed[members[0]], len(members), decisions
                )
    return shared


def calls_of(claimed: Iterable[Claimed]) -> Collection[list[Claimed]]:
    """The messages of each call, in the order of the first ones."""
    calls: dict[int, list[Claimed]] = {}
    for each in claimed:
        calls.setdefault(each.call_id or each.message_id, []).append(each)
    return calls.values()


def _calls(
    claimed: Sequence[Claimed], sizes: dict[str, int]
) -> Iterable[Sequence[int]]:
    filling: dict[_Key, _Call] = {}
    calls: list[_Call] = []
    for place, each in enumerate(claimed):
        if (key := _key(each, sizes)) is None:
            continue
        call, recipient = filling.get(key), each.content.recipient.lower()
        if call is None or not call.takes(recipient, sizes[each.decision.provider]):
            call = filling[key] = _Call()
            calls.append(call)
        call.members.append(place)
        call.recipients.add(recipient)
    return [call.members for call in calls]


def _key(claimed: Claimed, sizes: Collection[str]) -> _Key | None:
    provider = claimed.decision.provider
    if provider not in sizes or not _may_share(claimed):
        return None
    key = batch_key(provider, claimed.content)
    return None if key is None else (provider, key)


def _may_share(claimed: Claimed) -> bool:
    """A probe is one message. One that a worker, or a call, may have failed on goes
    alone: it would do the same to others.
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
