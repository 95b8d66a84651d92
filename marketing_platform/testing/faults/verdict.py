"""The judge: compares what was requested, what the database says, and what was sent.

Three independent records: the recipients that the engine accepted, its database, and
the log of the simulated providers. A message is identified by its recipient, not by
our reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from routing.vocabulary import MessageStatus

UNFINISHED = {MessageStatus.QUEUED, MessageStatus.SENDING}
TAKEN = {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.BOUNCED}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database says about one message."""

    status: MessageStatus
    is_flagged: bool  # its row says that its outcome is unknown
    was_unknown: bool  # it has an attempt recorded as Unknown


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the records compare, in messages."""

    messages: int
    accepted: int  # by a provider, so that they reached a handset
    lost: int  # gone, unfinished, or called sent although no provider has it
    doubled: int  # accepted more than once
    unknown: int  # their outcome was unknown at some time
    recovered: int  # of those, the ones that ended as sent or delivered
    flagged: int  # of those, the ones given up and marked so
    silent: int  # sent, but the database denies it
    unrecorded: int  # calls of a provider without an attempt

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
    recorded: Mapping[str, Recorded],
    accepted: Counter[str],
    *,
    calls: int,
    attempts: int,
) -> Verdict:
    """Compare the records: `calls` as counted by providers, `attempts` by us."""
    unknown = [each for each in recorded.values() if each.was_unknown]
    return Verdict(
        messages=len(acknowledged),
        accepted=len(accepted),
        lost=sum(
            _is_lost(recorded.get(recipient), accepted[recipient])
            for recipient in acknowledged
        ),
        doubled=sum(times > 1 for times in accepted.values()),
        unknown=len(unknown),
        recovered=sum(each.status in TAKEN for each in unknown),
        flagged=sum(
            each.is_flagged and each.status == MessageStatus.FAILED for each in unknown
        ),
        silent=sum(_is_silent(recorded.get(recipient)) for recipient in accepted),
        unrecorded=max(0, calls - attempts),
    )


def _is_lost(message: Recorded | None, times_accepted: int) -> bool:
    if message is None or message.status in UNFINISHED:
        return True
    return message.status in TAKEN and not times_accepted


def _is_silent(message: Recorded | None) -> bool:
    return message is None or not (message.status in TAKEN or message.is_flagged)
