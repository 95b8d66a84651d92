"""/healthz and /readyz, for load balancers and orchestrators."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketing_platform.diagnosis.findings import Level, examine, worst
from marketing_platform.diagnosis.readiness import READINESS
from messaging.queue.coordination import database_now


class ProbeMiddleware:
    """Answers probes before any other middleware handles the request.

    They come by IP address and over plain HTTP, which ALLOWED_HOSTS and the redirect to
    HTTPS would reject.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = PROBES.get(request.path_info.rstrip("/"), self._get_response)
        return answer(request)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. It checks nothing else, which a restart would not fix."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether messages can be accepted and sent: 200, or 503 with the problems.

    `?exclude=workers&exclude=queue` skips checks, for a web host without workers.
    """
    excluded = set(request.GET.getlist("exclude"))
    if unknown := excluded - set(READINESS):
        text = (
            f"Unknown checks: {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(READINESS)}."
        )
        return JsonResponse({"status": "bad request", "detail": text}, status=400)
    checks = {name: each for name, each in READINESS.items() if name not in excluded}
    findings = examine(checks, clock=database_now)
    is_ready = worst(findings.values()) != Level.FAIL
    return JsonResponse(
        {
            "status": "ready" if is_ready else "not ready",
            "checks": {
                name: {"status": finding.level, "detail": finding.text}
                for name, finding in findings.items()
            },
        },
        status=200 if is_ready else 503,
    )


PROBES = {"/healthz": healthz, "/readyz": readyz}
