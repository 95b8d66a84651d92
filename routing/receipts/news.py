"""What a provider said of an attempt, as plain values.

Pure: no Django, no clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from routing.vocabulary import ErrorClass, MessageStatus

# A provider that says that something happened longer ago, or later than it says so, has
# a clock that nothing should go by: the days of statistics and of pruning depend on it.
OLDEST = timedelta(days=30)


class News(NamedTuple):
    """A receipt on record, as far as it says something of its message."""

    pk: int
    message_id: int
    attempt_number: int
    provider: str
    external_message_id: str
    status: int | None  # None: no verdict
    error_class: int | None
    error_code: str
    error_message: str
    occurred_at: datetime | None
    received_at: datetime
    cost: Decimal | None
    currency: str

    @classmethod
    def of_acceptance(
        cls, message_id: int, attempt_number: int, *, at: datetime
    ) -> News:
        """What a provider says by accepting an attempt."""
        return cls(
            pk=0,
            message_id=message_id,
            attempt_number=attempt_number,
            provider="",
            external_message_id="",
            status=MessageStatus.SENT,
            error_class=None,
            error_code="",
            error_message="",
            occurred_at=None,
            received_at=at,
            cost=None,
            currency="",
        )

    @property
    def happened_at(self) -> datetime:
        """When it happened, as far as we know."""
        if self.occurred_at is None or self.occurred_at < self.received_at - OLDEST:
            return self.received_at
        return min(self.occurred_at, self.received_at)

    @property
    def reason(self) -> str:
        """The provider's words for what went wrong, or else our kind of error."""
        if not self.error_code and not self.error_message:
            return ""
        label = "" if self.error_class is None else ErrorClass(self.error_class).label
        text = self.error_message or f"{label} error".strip().lower()
        return f"{self.provider} {self.error_code}: {text}"[:500]
