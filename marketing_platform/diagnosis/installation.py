"""What is wrong with how this installation is set up, for the doctor."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings

from marketing_platform.diagnosis.findings import Check, Finding, fail, ok, warn
from marketing_platform.diagnosis.receipts_setup import LOOPBACK, receipts_setup
from messaging.tasks import DRAIN_BUDGET
from routing.decision.readiness import problems_of, readiness
from routing.decision.routing_table import active_routes
from routing.models import ChannelRoutingConfig
from routing.providers.registry import registry

SET_CREDENTIALS = (
    "Set the environment variables that are named (docs/providers.md says what they "
    "are), or change the routes. "
    "To try it without accounts, set PROVIDER_SIMULATOR_PORT=9900 for all processes, "
    "and run `python manage.py simulate_providers`."
)
MORE_OF_THEM = (
    "Messages leave by the others. Set the environment variables that are named, or "
    "take the providers out of the routes."
)


def debug(now: datetime) -> Finding:
    """Whether strangers get to see settings and source code."""
    is_public = urlsplit(settings.PUBLIC_URL).hostname not in LOOPBACK
    if settings.DEBUG and is_public:
        return fail(
            "DEBUG is on, and the installation is public: error pages show its inside, "
            "and every query is kept in memory.",
            "Set DEBUG=0.",
        )
    return ok("DEBUG is off, or nobody else can see it.")


def leases_and_deadlines(now: datetime) -> Finding:
    """Whether a lease outlives the longest call that it is held for."""
    longest = max(
        (
            float(each.get("OPTIONS", {}).get("TIMEOUT", 0))
            for each in registry.definitions.values()
        ),
        default=0.0,
    )
    if longest >= settings.QUEUE_LEASE_SECONDS:
        return fail(
            f"A lease ends after {settings.QUEUE_LEASE_SECONDS} s, a provider may take "
            f"{longest:g} s: messages are taken for lost while they are sent.",
            "Set QUEUE_LEASE_SECONDS to more than twice PROVIDER_TIMEOUT_SECONDS.",
        )
    return ok("Leases outlive the providers' deadlines.")


def task_queue(now: datetime) -> Finding:
    """Whether the django-q2 cluster's times fit each other."""
    cluster = settings.Q_CLUSTER
    if cluster["retry"] <= cluster["timeout"]:
        return fail(
            f"Q_CLUSTER: retry ({cluster['retry']} s) must exceed timeout "
            f"({cluster['timeout']} s), or tasks that still run are started again.",
            "Set both in marketing_platform/settings.py.",
        )
    if cluster["timeout"] <= 2 * DRAIN_BUDGET.total_seconds():
        return fail(
            f"Q_CLUSTER: a timeout of {cluster['timeout']} s would abort drains, which "
            f"take {DRAIN_BUDGET.seconds} s and the time of the calls in flight.",
            "Set it above a minute in marketing_platform/settings.py.",
        )
    return ok("The cluster's time-outs fit each other.")


def routes(now: datetime) -> Finding:
    """Whether every route that serves has a provider that can send.

    `messaging.campaigns.check_route` refuses and warns by the same answers.
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
            "Run `python manage.py loaddata default_routes`, or make one in the admin.",
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
        return warn(f"Routes name providers that cannot send: {problems}", MORE_OF_THEM)
    return ok(f"Active routes, all of whose providers can send: {len(found)}.")


def _broken() -> str:
    """Active routes that workers pass over: their policy or strategy is gone."""
    usable = {route.config_id for route in active_routes()}
    rows = ChannelRoutingConfig.objects.active().exclude(pk__in=usable)
    return ", ".join(f"{row.pk} ({row})" for row in rows)


SETTINGS: dict[str, Check] = {
    check.__name__: check
    for check in (debug, leases_and_deadlines, task_queue, receipts_setup)
}
ROUTES: dict[str, Check] = {"routes": routes}
