"""Answers that serve several look-ups, for providers that list messages by time.

Of many look-ups that ask the same at the same time, one calls, and the others wait for
its answer: after an outage there may be hundreds within the same minute.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from routing.providers.base import Enquiry, LookUpRefused
from routing.providers.transport.http import Answer

KEPT_FOR = timedelta(seconds=10)
KEPT_AT_MOST = 64  # some 100 KiB each


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer, and when it was asked for by our clock."""

    answer: Answer
    asked_at: datetime

    def serves(self, enquiry: Enquiry, *, settling: timedelta) -> bool:
        """Whether a message that it lacks is not there: it was asked for when that one
        would have been listed. And it must not be old.
        """
        is_settled = self.asked_at >= enquiry.until + settling
        return is_settled and enquiry.asked_at - self.asked_at < KEPT_FOR

    def as_asked(self, enquiry: Enquiry) -> Enquiry:
        """The enquiry as of that time, to compare clocks."""
        return replace(enquiry, asked_at=self.asked_at)


class SharedAnswers:
    """The latest answers of one provider, by query. Safe to use from many threads."""

    def __init__(self, *, settling: timedelta, patience: float) -> None:
        """`settling` is how long after a call its message is certainly listed;
        `patience` is how many seconds to wait for the calls of others.
        """
        self._settling = settling
        self._patience = patience
        self._kept: OrderedDict[str, Listed] = OrderedDict()
        self._lock = Lock()

    def get(
        self, query: str, enquiry: Enquiry, *, fetch: Callable[[str], Answer]
    ) -> Listed:
        """The answer to the query, fetched unless a kept one serves the enquiry.

        One call at a time. Raises what `fetch` raises, and LookUpRefused if others have
        waited for the provider for too long.
        """
        began = time.monotonic()
        if not self._lock.acquire(timeout=self._patience):
            raise LookUpRefused("Other look-ups wait for the provider.")
        try:
            kept = self._kept.get(query)
            if kept is None or not kept.serves(enquiry, settling=self._settling):
                # Else the wait would be taken for a difference of the clocks.
                waited = timedelta(seconds=time.monotonic() - began)
                kept = Listed(fetch(query), enquiry.asked_at + waited)
                self._kept[query] = kept
                self._kept.move_to_end(query)
            while len(self._kept) > KEPT_AT_MOST:
                self._kept.popitem(last=False)
            return kept
        finally:
            self._lock.release()
