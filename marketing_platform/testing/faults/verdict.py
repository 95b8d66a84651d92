"""The judge: what was asked for, what the database says, and what providers took.

Three records that know nothing of each other: the recipients that the engine accepted,
its database, and the log of the simulated providers. A message is told by its
recipient, not by a reference of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from routing.vocabulary import MessageStatus

UNFINISHED = {MessageStatus.QUEUED, MessageStatus.SENDING}
TAKEN = {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.BOUNCED}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of one message."""

    status: MessageStatus
    is_flagged: bool  # nobody knows whether it was sent, and that is on its row
    was_unknown: bool  # an attempt of it is on record as Unknown


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the records compare, in messages."""

    messages: int
    accepted: int  # by a provider, so that they reached a handset
    lost: int  # gone, unfinished, or said to be sent although no provider has it
    doubled: int  # accepted more than once
    unknown: int  # at some time nobody knew whether they were sent
    recovered: int  # of those, the ones that ended as sent or delivered
    flagged: int  # of those, the ones that were given up, and say so
    silent: int  # sent, and the database denies it
    unrecorded: int  # calls of a provider that no attempt tells of

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, denied or left out."""
        return not (self.lost or self.doubled or self.silent or self.unrecorded)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in fields(self)
            )
        )


def judge(
    acknowledged: Collection[str],
    standings: Mapping[str, Standing],
    accepted: Counter[str],
    *,
    calls: int,
    attempts: int,
) -> Verdict:
    """Compare the records; providers count `calls`, and we `attempts`."""
    unknown = [each for each in standings.values() if each.was_unknown]
    return Verdict(
        messages=len(acknowledged),
        accepted=len(accepted),
        lost=sum(
            _is_lost(standings.get(recipient), accepted[recipient])
            for recipient in acknowledged
        ),
        doubled=sum(times > 1 for times in accepted.values()),
        unknown=len(unknown),
        recovered=sum(each.status in TAKEN for each in unknown),
        flagged=sum(
            each.is_flagged and each.status == MessageStatus.FAILED for each in unknown
        ),
        silent=sum(_is_silent(standings.get(recipient)) for recipient in accepted),
        unrecorded=max(0, calls - attempts),
    )


def _is_lost(standing: Standing | None, times_accepted: int) -> bool:
    if standing is None or standing.status in UNFINISHED:
        return True
    return standing.status in TAKEN and not times_accepted


def _is_silent(standing: Standing | None) -> bool:
    return standing is None or not (standing.status in TAKEN or standing.is_flagged)
