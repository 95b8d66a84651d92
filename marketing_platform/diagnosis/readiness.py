"""Can messages be accepted and sent? Cheap enough for a load balancer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from marketing_platform.diagnosis.findings import Check, Finding, fail, ok, span, warn
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.queue_status import COUNT_AT_MOST, oldest_due_at
from routing.decision.readiness import current_outages
from routing.models import MessageDeliveryAttempt
from routing.receipts.inbox import inbox_status, oldest_received_at
from routing.rules.outage import Terms
from routing.vocabulary import Channel


def database(now: datetime) -> Finding:
    """One round trip."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return ok("The database answers.")


def migrations(now: datetime) -> Finding:
    """Whether the latest migration of each app is recorded as applied."""
    applied = set(MigrationRecorder(connection).applied_migrations())
    if missing := sorted(_latest_migrations() - applied):
        names = ", ".join(f"{app}.{name}" for app, name in missing)
        return fail(
            f"The database lacks migrations: {names}.",
            "Run `python manage.py migrate`.",
            is_final=True,
        )
    return ok("All migrations are applied.")


def workers(now: datetime) -> Finding:
    """Whether some process drains the queue, or is ready to."""
    processes = WorkerHeartbeat.objects.alive(now).count()
    clusters = ClusterHeartbeat.objects.alive(now).count()
    if processes or clusters:
        return ok(f"Alive: workers {processes}, clusters on standby {clusters}.")
    return fail(
        "No worker is running.",
        "Start `python manage.py run_cluster` or `python manage.py process_queue "
        "--watch`, or find out why they end.",
    )


def queue(now: datetime) -> Finding:
    """Whether messages are sent. A campaign of a million may well take hours: it is a
    problem only if messages have been due for long and none has been sent since. An
    outage of the providers is not one of this host.
    """
    limit = timedelta(seconds=settings.QUEUE_STALLED_SECONDS)
    due_at, on_hold = oldest_due_at(now), {}
    if due_at and due_at <= now - limit and (on_hold := current_outages(now=now)):
        due_at = oldest_due_at(now, except_for=on_hold)
    if due_at is None:
        return ok("No message is due that may leave.")
    waiting = f"The oldest due message has waited for {span(now - due_at)}"
    if due_at > now - limit:
        return ok(f"{waiting}.")
    last = MessageDeliveryAttempt.objects.order_by("-pk").first()
    if last and last.attempted_at > now - limit:
        return _stalled_channels(now, limit, on_hold) or ok(
            f"{waiting}; messages are sent."
        )
    return fail(
        f"{waiting}, and none was sent in the last {span(limit)}.",
        "Run `python manage.py process_queue` and watch its log; check whether "
        "the throttles of all providers are used up.",
    )


def _stalled_channels(
    now: datetime, limit: timedelta, on_hold: Iterable[Terms]
) -> Finding | None:
    """A channel that sends nothing, while others do. Not a failure: this host is still
    useful to the others.
    """
    lately = MessageDeliveryAttempt.objects.filter(attempted_at__gt=now - limit)
    stalled = [
        f"{channel.label} (for {span(now - due_at)})"
        for channel in Channel
        if (due_at := oldest_due_at(now, channel, except_for=on_hold))
        and due_at <= now - limit
        and not lately.filter(channel=channel).exists()
    ]
    if not stalled:
        return None
    return warn(
        f"Messages are sent, but in the last {span(limit)} none of those due on "
        f"{', '.join(stalled)}.",
        "Run `python manage.py process_queue`, which shows why they wait: usually the "
        "channel's providers are throttled.",
    )


def receipts(now: datetime) -> Finding:
    """Whether workers keep up with the receipts."""
    if (oldest := oldest_received_at()) is None:
        return ok("No receipt is waiting.")
    status, age = inbox_status(at_most=COUNT_AT_MOST), now - oldest
    text = f"Receipts waiting to be applied: {status.waiting:,}, oldest {span(age)}."
    if age <= timedelta(seconds=settings.RECEIPTS_STALLED_SECONDS):
        return ok(text)
    return fail(
        text,
        "Start more workers (`python manage.py process_queue --watch`), or check "
        "their logs: docs/operations.md.",
    )


READINESS: dict[str, Check] = {
    check.__name__: check for check in (database, migrations, workers, queue, receipts)
}


@cache
def _latest_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).graph.leaf_nodes())
