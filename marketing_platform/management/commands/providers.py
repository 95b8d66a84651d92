"""manage.py providers: how they are, and pausing, resuming and probing them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from marketing_platform.audit.acting import current_actor
from messaging.management.arguments import read_time
from routing.health.overview import Overview, overview, overviews
from routing.health.pauses import (
    ActRefused,
    Why,
    pause_provider,
    probe_provider,
    resume_provider,
)
from routing.models.pauses import REASON_LENGTH
from routing.providers.registry import UnknownProvider
from routing.terminal import PlainCommand

ACTS: dict[str, tuple[Callable[..., object], str]] = {
    "pause": (pause_provider, "keep all messages away from a provider"),
    "resume": (resume_provider, "end its pause, or call off a planned one"),
    "probe": (probe_provider, "let the next message try one that is out of use"),
}


class Command(PlainCommand):
    help = (
        "List the providers: channel, account or what is missing, whether they are "
        "simulated and send receipts, their state and throttle. Or pause, resume or "
        "probe one. Workers follow within a second."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", metavar="pause | resume | probe")
        for name, (_, meaning) in ACTS.items():
            act = acts.add_parser(name, help=meaning)
            act.add_argument("name", metavar="NAME", help="such as TwilioSMS")
            act.add_argument("--reason", required=True, help="kept, and audited")
            if name == "pause":
                for end in ("since", "until"):
                    act.add_argument(f"--{end}", type=_time, metavar="ISO")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["act"] is None:
            for each in overviews(now=timezone.now()):
                self.stdout.write(_described(each))
            return
        try:
            self._act(**options)
        except (UnknownProvider, ActRefused) as refusal:
            raise CommandError(str(refusal)) from None

    def _act(self, act: str, name: str, reason: str, **options: Any) -> None:
        if not 0 < len(reason.strip()) <= REASON_LENGTH:
            raise CommandError(f"Say why, in at most {REASON_LENGTH} characters.")
        do, _ = ACTS[act]
        now = timezone.now()
        times = {each: options.get(each) for each in ("since", "until")}
        why = Why(current_actor().name, reason.strip(), now)
        do(name, why, **(times if act == "pause" else {}))
        self.stdout.write(_described(overview(name, now=now)))


def _described(provider: Overview) -> str:
    """Its state on a line of its own, as it may be long."""
    lines = [
        f"{provider.name} ({provider.channel.label}): {provider.in_words}",
        *(f"    {each}" for each in provider.planned),
    ]
    if not provider.problem:
        receipts = "receipts" if provider.sends_receipts else "no receipts"
        kind = "simulated" if provider.is_simulated else "real"
        throttle = f"throttle: {provider.throttle}"
        parts = [provider.account, kind, receipts, throttle]
        lines.append(f"    {'; '.join(filter(None, parts))}")
    return "\n".join(lines)


def _time(text: str) -> Any:
    if parsed := read_time(text):
        return parsed
    raise CommandError(f"{text!r} is not a time such as 2030-01-31T09:00+01:00.")
