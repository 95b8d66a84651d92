"""Quarantine: a message that nothing can be done with is taken aside, alone.

Without it, one such message would fail each worker that comes upon it, one after the
other, and nobody's messages would leave. It is Failed, with the reason, and no worker
takes it again by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError
from django.db.models import Count

from messaging.models import CampaignMessage
from messaging.queue.due import AnyMessage, DueMessage
from messaging.transitions import quarantined, write
from routing.models import MessageDeliveryAttempt

logger = logging.getLogger(__name__)

LOST_WORKER_CODE = "lost_worker"
# A message that was in flight when this many workers died is taken for the cause.
WORKERS_LOST_AT_MOST = 3
APART = timedelta(seconds=1)


def quarantine(
    message: AnyMessage,
    reason: str,
    *,
    now: datetime,
    unknown_since: datetime | None = None,
) -> None:
    """Take a message aside whose row the caller has locked.

    `unknown_since` is given when it may have been sent: a receipt still settles it.
    """
    change = quarantined(reason, unknown_since=unknown_since, now=now)
    write([(message, change)])


class quarantined_if_it_fails:  # noqa: N801 - reads as what it does
    """Take the message aside if what is done with it raises, and go on with others.

    What the database raises is no message's fault, and goes up. A class, for every
    message passes through it: a generator costs four times as much.
    """

    __slots__ = ("_message", "_now", "_unknown_since")

    def __init__(
        self,
        message: AnyMessage,
        *,
        now: datetime,
        unknown_since: datetime | None = None,
    ) -> None:
        self._message = message
        self._now = now
        self._unknown_since = unknown_since

    def __enter__(self) -> None:
        """Nothing has failed so far."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, DatabaseError):
            return False
        logger.error("Message %s is quarantined.", self._message.pk, exc_info=error)
        reason = f"{type(error).__name__}: {error}".replace("\0", "")
        quarantine(
            self._message, reason, now=self._now, unknown_since=self._unknown_since
        )
        return True


def may_be_of_one_message(error: Exception) -> bool:
    """Whether what failed for several may succeed without one of them.

    Not where the database itself, or the way to it, is at fault.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    return not isinstance(error, DatabaseError | InterfaceError)


def workers_lost_with(messages: Sequence[AnyMessage]) -> dict[int, int]:
    """How many workers died with each of the messages in flight, where any did."""
    return dict(
        MessageDeliveryAttempt.objects.filter(
            message__in=[each.pk for each in messages], error_code=LOST_WORKER_CODE
        )
        .order_by()
        .values_list("message")
        .annotate(Count("id"))
    )


def one_suspect_of(
    messages: Sequence[DueMessage], *, now: datetime
) -> list[DueMessage]:
    """The messages without all but one of those that one more death would quarantine.

    Those are put off, each by a second more than the one before: claimed together, the
    culprit would take along whatever was beside it from the first death on.
    """
    again = [m for m in messages if m.attempt_count >= WORKERS_LOST_AT_MOST - 1]
    if not again:
        return list(messages)
    lost = workers_lost_with(again)
    suspects = [m for m in again if lost.get(m.pk, 0) >= WORKERS_LOST_AT_MOST - 1]
    put_off = suspects[1:]
    for place, message in enumerate(put_off, start=1):
        CampaignMessage.objects.filter(pk=message.pk).update(due_at=now + place * APART)
    held_back = {message.pk for message in put_off}
    return [message for message in messages if message.pk not in held_back]
