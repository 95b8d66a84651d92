"""What is wrong with how this installation is set up, for the doctor."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings

from marketing_platform.diagnosis.findings import Check, Finding, fail, ok, warn
from marketing_platform.diagnosis.receipts_setup import LOOPBACK, receipts_setup
from messaging.tasks import DRAIN_BUDGET
from routing.models import ChannelRoutingConfig
from routing.providers.registry import registry

SET_CREDENTIALS = (
    "Set the environment variables that docs/providers.md names, or change the routes. "
    "To try it without accounts, set PROVIDER_SIMULATOR_PORT=9900 for all processes, "
    "and run `python manage.py simulate_providers`."
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
    """Whether every active route has providers that can send."""
    active = ChannelRoutingConfig.objects.filter(is_active=True)
    active = active.prefetch_related("further_providers")
    found = [(route, _unusable(route)) for route in active]
    if not found:
        return fail(
            "There is no active route: no message can be sent.",
            "Run `python manage.py loaddata default_routes`, or make one in the admin.",
        )
    dead = [route for route, unusable in found if len(unusable) == len(route.providers)]
    problems = {text for _, unusable in found for text in unusable}
    if dead:
        return fail(
            f"Routes without a provider that can send: {', '.join(map(str, dead))}. "
            + " ".join(sorted(problems)),
            SET_CREDENTIALS,
        )
    if problems:
        return warn(
            "Routes name providers that cannot send: " + " ".join(sorted(problems)),
            SET_CREDENTIALS,
        )
    return ok(f"Active routes, all of whose providers can send: {len(found)}.")


def _unusable(route: ChannelRoutingConfig) -> list[str]:
    problems = map(registry.problem_with, route.providers)
    return [problem for problem in problems if problem]


SETTINGS: dict[str, Check] = {
    check.__name__: check
    for check in (debug, leases_and_deadlines, task_queue, receipts_setup)
}
ROUTES: dict[str, Check] = {"routes": routes}
