"""Do the settings allow receipts to arrive? For the doctor and `check --deploy`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings

from marketing_platform.diagnosis.findings import Finding, fail, ok
from messaging.rules.public_urls import problem_with_host
from routing.providers.base import Provider
from routing.providers.registry import registry

LOOPBACK = (None, "localhost", "127.0.0.1", "::1")


def setup_problems() -> Iterator[tuple[str, str]]:
    """Why no receipt can arrive or be accepted, and what to do about it."""
    accounts = list(_real_accounts())
    host_problem = _problem_with_public_url()
    if accounts and host_problem:
        names = ", ".join(each.name for each in accounts)
        yield (
            f"PUBLIC_URL ({settings.PUBLIC_URL or 'empty'}) {host_problem}: receipts "
            f"of {names} cannot arrive.",
            "Set PUBLIC_URL to the public address of this installation.",
        )
    for provider in accounts:
        if problem := provider.problem_with_receipts():
            yield (
                f"Every receipt of {provider.name} is refused: {problem}",
                "Set it to the value in the provider's console: docs/providers.md.",
            )
    if settings.PROVIDER_SIMULATOR_PORT is not None and not host_problem:
        yield (
            "PROVIDER_SIMULATOR_PORT is set, and PUBLIC_URL is public: messages reach "
            "no one, and anyone can sign receipts with the simulators' known keys.",
            "Unset PROVIDER_SIMULATOR_PORT, and set the accounts' credentials.",
        )


def receipts_setup(now: datetime) -> Finding:
    """Whether the settings allow receipts to arrive."""
    found = list(setup_problems())
    if found:
        remedies = dict.fromkeys(remedy for _, remedy in found)
        return fail(" ".join(text for text, _ in found), " ".join(remedies))
    return ok("The settings allow receipts to arrive.")


def _real_accounts() -> Iterator[Provider]:
    """Configured providers outside this host that send receipts."""
    for name in registry.names():
        if not registry.provider_class(name).sends_receipts():
            continue
        if registry.problem_with(name):
            continue
        provider = registry.get(name)
        host = urlsplit(str(provider.options.get("BASE_URL", ""))).hostname
        if host not in LOOPBACK:
            yield provider


def _problem_with_public_url() -> str:
    """Why providers cannot reach it; "" if they can, as far as it shows."""
    host = urlsplit(settings.PUBLIC_URL).hostname
    if not host:
        return "has no host"
    if ":" in host:
        return problem_with_host(f"[{host}]")
    try:
        return problem_with_host(host.encode("idna").decode())
    except UnicodeError:
        return "has a host that is not a domain name"
