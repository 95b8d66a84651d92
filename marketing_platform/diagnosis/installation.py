"""Problems with the installation's settings and routes, for the doctor."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings

from marketing_platform.diagnosis.findings import Check, Finding, fail, ok, warn
from marketing_platform.diagnosis.receipts_setup import LOOPBACK, receipts_setup
from messaging.queue.worker import problem_with_lease
from messaging.tasks import DRAIN_BUDGET
from routing.decision.planner import active_routes
from routing.decision.readiness import problems_of, readiness
from routing.models import ChannelRoutingConfig

SET_CREDENTIALS = (
    "Set the environment variables above (docs/providers.md explains them), or change "
    "the routes. "
    "To try it without accounts, set PROVIDER_SIMULATOR_PORT=9900 for all processes, "
    "and run `python manage.py simulate_providers`."
)
MORE_OF_THEM = (
    "Messages are sent by the others. Set the environment variables above, or take the "
    "providers out of the routes."
)


def debug(now: datetime) -> Finding:
    """Whether outsiders can see settings and source code."""
    is_public = urlsplit(settings.PUBLIC_URL).hostname not in LOOPBACK
    if settings.DEBUG and is_public:
        return fail(
            "DEBUG is on, and the installation is public: error pages show settings "
            "and source code, and every query is kept in memory.",
            "Set DEBUG=0.",
        )
    return ok("DEBUG is off, or the installation is not public.")


def leases_and_deadlines(now: datetime) -> Finding:
    """Whether a lease outlasts the longest call."""
    if problem := problem_with_lease():
        return fail(problem, "No worker starts before that.")
    return ok("Leases outlast the providers' deadlines.")


def task_queue(now: datetime) -> Finding:
    """Whether the django-q2 cluster's time-outs are consistent."""
    cluster = settings.Q_CLUSTER
    if cluster["retry"] <= cluster["timeout"]:
        return fail(
            f"Q_CLUSTER: retry ({cluster['retry']} s) must exceed timeout "
            f"({cluster['timeout']} s), or running tasks are started again.",
            "Set both in marketing_platform/settings.py.",
        )
    if cluster["timeout"] <= 2 * DRAIN_BUDGET.total_seconds():
        return fail(
            f"Q_CLUSTER: a timeout of {cluster['timeout']} s would abort drains, which "
            f"take {DRAIN_BUDGET.seconds} s plus the time of the calls in flight.",
            "Set it above a minute in marketing_platform/settings.py.",
        )
    return ok("The cluster's time-outs are consistent.")


def routes(now: datetime) -> Finding:
    """Whether every route in use has a provider that can send.

    `messaging.campaigns.check_route` refuses and warns by the same rules.
    """
    found = readiness()
    if broken := _broken():
        return fail(
            f"Routes that cannot be used at all: {broken}.",
            "See the error in the log; correct or deactivate them in the admin.",
        )
    if not found:
        return fail(
            "There is no active route: no message can be sent.",
            "Run `python manage.py loaddata default_routes`, or add one in the admin.",
        )
    dead = [each for each in found if not each.can_send]
    problems = " ".join(problems_of(found))
    if dead:
        return fail(
            "Routes without a provider that can send: "
            f"{', '.join(map(str, dead))}. {problems}",
            SET_CREDENTIALS,
        )
    if problems:
        return warn(f"Some providers of routes cannot send: {problems}", MORE_OF_THEM)
    return ok(f"All providers of all active routes can send. Routes: {len(found)}.")


def _broken() -> str:
    """Active routes that workers skip: their policy or strategy does not exist."""
    usable = {route.config_id for route in active_routes()}
    rows = ChannelRoutingConfig.objects.active().exclude(pk__in=usable)
    return ", ".join(f"{row.pk} ({row})" for row in rows)


SETTINGS: dict[str, Check] = {
    check.__name__: check
    for check in (debug, leases_and_deadlines, task_queue, receipts_setup)
}
ROUTES: dict[str, Check] = {"routes": routes}
