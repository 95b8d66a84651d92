"""Quarantine: a message that cannot be processed is taken out of the queue, alone.

Otherwise one such message would fail one worker after another, and no messages would
leave. It becomes Failed, with the reason, and workers do not take it again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError
from django.db.models import Count

from messaging.models import CampaignMessage
from messaging.queue.claimed import AnyMessage, DueMessage
from messaging.transitions import quarantined, write
from routing.models import MessageDeliveryAttempt

logger = logging.getLogger(__name__)

LOST_WORKER_CODE = "lost_worker"
# A message in flight when this many workers died is assumed to be the cause.
WORKERS_LOST_AT_MOST = 3
APART = timedelta(seconds=1)


def quarantine(
    message: AnyMessage,
    reason: str,
    *,
    now: datetime,
    unknown_since: datetime | None = None,
) -> None:
    """Quarantine a message whose row the caller has locked.

    `unknown_since` is set if it may have been sent; a receipt can still settle it.
    """
    change = quarantined(reason, unknown_since=unknown_since, now=now)
    write([(message, change)])


class quarantined_if_it_fails:  # noqa: N801 - reads as what it does
    """Quarantine the message if the block raises, and go on with others.

    Database errors are not a message's fault and are raised. This is a class because
    every message passes through it: a generator costs four times as much.
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
        """Do nothing."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, DatabaseError):
            return False
        logger.error("Message %s was quarantined.", self._message.pk, exc_info=error)
        reason = f"{type(error).__name__}: {error}".replace("\0", "")
        quarantine(
            self._message, reason, now=self._now, unknown_since=self._unknown_since
        )
        return True


def may_be_of_one_message(error: Exception) -> bool:
    """Whether a step that failed for several messages may work without one of them.

    False if the database itself or the connection to it is at fault.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    return not isinstance(error, DatabaseError | InterfaceError)


def workers_lost_with(messages: Sequence[AnyMessage]) -> dict[int, int]:
    """How many workers died with each message in flight; only messages with any."""
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
    """The messages, with at most one that another worker's death would quarantine.

    The other suspects are deferred, each a second longer than the one before. Claimed
    together with the culprit, they would all be quarantined with it.
    """
    again = [m for m in messages if m.attempt_count >= WORKERS_LOST_AT_MOST - 1]
    if not again:
        return list(messages)
    lost = workers_lost_with(again)
    suspects = [m for m in again if lost.get(m.pk, 0) >= WORKERS_LOST_AT_MOST - 1]
    deferred = suspects[1:]
    for place, message in enumerate(deferred, start=1):
        CampaignMessage.objects.filter(pk=message.pk).update(due_at=now + place * APART)
    held_back = {message.pk for message in deferred}
    return [message for message in messages if message.pk not in held_back]
