"""Access and attempts at it, for the doctor."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection

from marketing_platform.audit.models import AuditEvent
from marketing_platform.diagnosis.findings import Check, Finding, fail, ok, warn
from messaging.cluster.schedules import unusable_schedules
from routing.text.quantities import quantity

LATELY = timedelta(days=1)
MANY_FAILURES = 20


def refused_tasks(now: datetime) -> Finding:
    """Whether the cluster was asked to run functions that it must not run."""
    if unusable := unusable_schedules():
        listed = "; ".join(f"{name}: {why}" for name, why in unusable.items())
        return warn(
            f"Schedules that are never run: {len(unusable)}. {listed[:300]}",
            "List your own functions in QCLUSTER_TASKS. If a schedule is not yours, "
            "someone else writes to your database: find out who.",
        )
    refused = AuditEvent.objects.since(now - LATELY).filter(action="refuse task")
    if count := refused.count():
        return fail(
            f"The cluster refused {quantity(count, 'task')} within a day.",
            "See the audit log. Someone else may be writing to your database.",
        )
    return ok("The cluster was only asked to run its own tasks.")


def log_ins(now: datetime) -> Finding:
    """Whether someone is guessing passwords or tokens."""
    lately = AuditEvent.objects.since(now - LATELY)
    tried = lately.filter(action__in=["log-in failed", "log-in blocked"])
    blocked = lately.filter(action__in=["log-in blocked", "guess tokens"]).exists()
    count, places = tried.count(), tried.values("address").distinct().count()
    if blocked or count > MANY_FAILURES:
        return warn(
            f"Failed log-ins within a day: {count:,}, from "
            + quantity(places, "address", "addresses")
            + (", some of them blocked." if blocked else "."),
            "See the audit log. If all come from your proxy's address, add that to "
            "TRUSTED_PROXIES.",
        )
    return ok("No sign of password guessing.")


def files(now: datetime) -> Finding:
    """Whether other users of this host can read the database or the keys."""
    keys = [settings.STATE_DIR / "secret_key", settings.BASE_DIR / ".env"]
    kept = [*keys, *_database_files()]
    open_files = [str(path) for path in kept if _is_open(path)]
    if open_files:
        return warn(
            f"All users of this host can read {', '.join(open_files)}.",
            f"`chmod o= {' '.join(open_files)}`",
        )
    return ok("Other users of this host cannot read the database or the keys.")


def _database_files() -> list[Path]:
    database = settings.DATABASES["default"]
    if "sqlite3" not in database["ENGINE"]:
        return []
    name = str(connection.settings_dict["NAME"])
    return [Path(f"{name}{suffix}") for suffix in ("", "-wal", "-shm")]


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:  # it does not exist
        return False


DOORS: dict[str, Check] = {
    check.__name__: check for check in (refused_tasks, log_ins, files)
}
