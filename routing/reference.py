"""Our own name for an attempt, which goes to the provider and comes back in receipts.

It names message and attempt, so that a receipt finds them before the provider's id was
recorded, and a late one is not taken for news of a later attempt.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PATTERN = re.compile(r"m([1-9][0-9]{0,18})a([1-9][0-9]{0,4})")
# What the columns hold; a larger number was never ours.
_MAX_MESSAGE_ID, _MAX_ATTEMPT_NUMBER = 2**63 - 1, 2**15 - 1


class AttemptReference(NamedTuple):
    """Attempt `attempt_number` (from 1) of message `message_id`."""

    message_id: int
    attempt_number: int

    def __str__(self) -> str:
        return f"m{self.message_id}a{self.attempt_number}"

    @classmethod
    def parse(cls, text: str) -> AttemptReference | None:
        """Read a reference back; None when it is not one of ours."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            return None
        message_id, number = int(match[1]), int(match[2])
        if message_id > _MAX_MESSAGE_ID or number > _MAX_ATTEMPT_NUMBER:
            return None
        return cls(message_id, number)
