"""Batching: which claimed messages share one call, if their provider accepts several.

The shared call is on each message's row before the call is made. The results are
reported per message (`routing.dispatch`).
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
