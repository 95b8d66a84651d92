"""The retry table as workers read it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from routing.models import RetryRule
from routing.rules.retry_table import NO_RULES, RetryTable

logger = logging.getLogger(__name__)


def stored_table() -> RetryTable:
    """The rules in use; one that only a later version knows is passed over."""
    rules = []
    for row in RetryRule.objects.active():
        try:
            rules.append(row.as_rule())
        except ValueError:
            logger.exception("The retry rule %s cannot be used.", row.pk)
    return RetryTable(tuple(rules))


class RetryBook:
    """The retry table, read again when older than `max_age`; one per worker."""

    def __init__(self, *, max_age: timedelta = timedelta(seconds=1)) -> None:
        self._max_age = max_age
        self._table = NO_RULES
        self._read_at: datetime | None = None

    def table(self, *, now: datetime) -> RetryTable:
        """The table as it was at most `max_age` ago."""
        # Either way: the database's clock, which `now` is, may be set back.
        if self._read_at is None or abs(now - self._read_at) >= self._max_age:
            self._table, self._read_at = stored_table(), now
        return self._table
