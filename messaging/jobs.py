"""Bulk jobs: an act on many messages, worked off by the queue's workers in batches.

The ids of a job's messages are copied into a table when it is asked for: later ones are
not touched, and no filter is read twice. Each batch is one
transaction: its messages, and how far the job is. A worker that is killed leaves the
batch undone, and the next worker does it; none is acted on twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection, transaction

from messaging.message_actions import Acted, cancel_messages, retry_messages
from messaging.models import BulkJob, BulkJobMessage, CampaignMessageQuerySet
from messaging.queue.coordination import notify_workers
from messaging.queue.receipts import apply_receipts
from messaging.settling import Ruling, Settled, Settlement, settle_batch
from messaging.transitions import RETRYABLE
from messaging.vocabulary import BulkAct, JobState
from routing.signals import report
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)

BATCH = 500  # messages in a transaction
FAILURES_AT_MOST = 5  # of a job's batches
KEPT = timedelta(days=90)  # with the messages, which is who acted on each
_COPY = """
INSERT INTO messaging_bulkjobmessage (job_id, message_id, is_done)
SELECT DISTINCT %s, chosen.id, {no} FROM ({chosen}) AS chosen ORDER BY 2
"""


class NothingChosen(ValueError):
    """There is no message to act on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants it done, why, and to which messages: in words."""

    by: str
    reason: str
    chosen_by: str = ""
    user: User | None = None


def eligible(
    act: BulkAct, messages: CampaignMessageQuerySet
) -> CampaignMessageQuerySet:
    """Those whose status allows the act; some may be refused for other reasons."""
    match act:
        case BulkAct.RETRY:
            return messages.filter(status__in=RETRYABLE)
        case BulkAct.CANCEL:
            return messages.filter(status=MessageStatus.QUEUED)
        case BulkAct.SEND_AGAIN:
            return Settlement.SEND_AGAIN.applies_to(messages)
        case BulkAct.GIVE_UP:
            return Settlement.GIVE_UP.applies_to(messages)


def ask_for(
    act: BulkAct, messages: CampaignMessageQuerySet, asked: Asked, *, now: datetime
) -> BulkJob:
    """A new job for those of the messages whose status allows the act. It waits for a
    worker. NothingChosen if there are none.
    """
    with transaction.atomic():
        job = BulkJob.objects.create(
            act=act,
            chosen_by=asked.chosen_by[:500],
            reason=asked.reason[:300],
            user=asked.user,
            asked_by=asked.by[:150],
            asked_at=now,
        )
        job.count = _copy(job, eligible(act, messages))
        if not job.count:
            raise NothingChosen("There is no message to act on.")
        job.save(update_fields=["count"])
        report("ask for bulk job", job, **_told(job))
        notify_workers()
    return job


def _copy(job: BulkJob, messages: CampaignMessageQuerySet) -> int:
    """In one statement: there may be a million."""
    try:
        chosen, parameters = messages.order_by().values("id").query.sql_with_params()
    except EmptyResultSet:
        return 0
    sql = _COPY.format(chosen=chosen, no="false")
    with connection.cursor() as cursor:
        cursor.execute(sql, [job.pk, *parameters])
        return int(cursor.rowcount)


def stop(job: BulkJob, *, reason: str, now: datetime) -> bool:
    """Stop it after the batch under way; returns whether it was still open."""
    with transaction.atomic():
        locked = BulkJob.objects.open().select_for_update().filter(pk=job.pk).first()
        if locked is None:
            return False
        _end(locked, JobState.STOPPED, now)
        report("stop bulk job", locked, reason=reason, **_told(locked))
    return True


def work_on_jobs(*, now: datetime) -> int:
    """Do one batch of the oldest open job that no other worker is at; returns how many
    messages it came to.
    """
    if not BulkJob.objects.open().exists():
        return 0
    apply_receipts(now=now)  # they may know more
    forget_old_jobs(now=now)
    with transaction.atomic():
        unlocked = BulkJob.objects.open().select_for_update(skip_locked=True)
        job = unlocked.order_by("pk").first()
        return _batch(job, now) if job else 0


def work_through(job: BulkJob, *, now: datetime) -> None:
    """Work on a job to its end; for few messages."""
    while job.is_open:
        with transaction.atomic():
            locked = BulkJob.objects.open().select_for_update().filter(pk=job.pk)
            if (found := locked.first()) is not None:
                _batch(found, now)
        job.refresh_from_db()


def _batch(job: BulkJob, now: datetime) -> int:
    todo = job.messages.filter(is_done=False).order_by("pk")
    rows = list(todo.values_list("pk", "message_id")[:BATCH])
    try:
        with transaction.atomic():
            acted = _DO[BulkAct(job.act)]([message for _, message in rows], job, now)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job's page says so
        return _failed(job, error, now)
    BulkJobMessage.objects.filter(pk__in=[pk for pk, _ in rows]).update(is_done=True)
    job.state, job.started_at = JobState.RUNNING, job.started_at or now
    job.done += acted.done
    job.refused = dict(Counter(job.refused) + acted.refused)
    if len(rows) < BATCH:
        _end(job, JobState.FINISHED, now)
        report("finish bulk job", job, **_told(job))
    else:
        job.save()
    return len(rows)


def _failed(job: BulkJob, error: Exception, now: datetime) -> int:
    """End the job; or let it go on a few times after an error that may pass. If the
    database is away, saving the job fails as well, which the worker sees to.
    """
    logger.error("The bulk job %s failed.", job.pk, exc_info=error)
    job.error = f"{type(error).__name__}: {error}"[:500]
    job.failures += 1
    may_pass = isinstance(error, OperationalError)  # a deadlock, a time limit
    if may_pass and job.failures < FAILURES_AT_MOST:
        job.save()
    else:
        _end(job, JobState.FAILED, now)
        report("give up bulk job", job, error=job.error, **_told(job))
    return 0


def _end(job: BulkJob, state: JobState, now: datetime) -> None:
    job.state, job.finished_at = state, now
    job.save()


def _told(job: BulkJob) -> dict[str, object]:
    """What the audit log keeps of it."""
    return {
        "act": BulkAct(job.act).label,
        "asked_by": job.asked_by,
        "why": job.reason,
        "chosen_by": job.chosen_by,
        "count": job.count,
        "done": job.done,
        "left_alone": job.left_alone,
    }


def _retry(ids: Sequence[int], job: BulkJob, now: datetime) -> Acted:
    return retry_messages(ids, reason=f"Retried: {job.reason}", now=now)


def _cancel(ids: Sequence[int], job: BulkJob, now: datetime) -> Acted:
    return cancel_messages(ids, reason=f"Cancelled: {job.reason}"[:500], now=now)


def _settle(how: Settlement) -> Callable[[Sequence[int], BulkJob, datetime], Acted]:
    def settle(ids: Sequence[int], job: BulkJob, now: datetime) -> Acted:
        settled = Settled()
        ruling = Ruling(how, job.reason, job.chosen_by)
        settle_batch(ids, ruling, settled, now)
        return Acted(settled.done, settled.refused)

    return settle


_DO: dict[BulkAct, Callable[[Sequence[int], BulkJob, datetime], Acted]] = {
    BulkAct.RETRY: _retry,
    BulkAct.CANCEL: _cancel,
    BulkAct.SEND_AGAIN: _settle(Settlement.SEND_AGAIN),
    BulkAct.GIVE_UP: _settle(Settlement.GIVE_UP),
}


def forget_old_jobs(*, now: datetime) -> None:
    """Clear away jobs that ended long ago, one at a time."""
    old = BulkJob.objects.filter(finished_at__lt=now - KEPT).order_by("pk").first()
    if old is not None:
        old.delete()
