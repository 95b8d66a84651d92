"""manage.py settle_unknown: send messages of unknown outcome again, or give them up."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from messaging.management.arguments import read_time
from messaging.models import CampaignMessage, CampaignMessageQuerySet
from messaging.settling import Ruling, Settlement, settle
from routing.terminal import PlainCommand
from routing.text.quantities import quantity
from routing.vocabulary import MessageStatus

YES = {"y", "yes"}


class Command(PlainCommand):
    help = (
        "Settle messages of which nobody knows whether they were sent: send them "
        "again, or give them up. Receipts and look-ups settle most of them without "
        "you, and the deadline the others. A message that is sent again may arrive "
        "twice. Messages that a worker is asking about are left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_argument_group("which messages")
        which.add_argument("--provider", required=True, help="that may have sent them")
        which.add_argument("--campaign", type=int, metavar="ID")
        which.add_argument(
            "--since",
            type=_time,
            metavar="ISO",
            help="unknown since this time, or later",
        )
        which.add_argument(
            "--failed-too",
            action="store_true",
            help="with --send-again: also those that failed at the deadline",
        )
        how = parser.add_mutually_exclusive_group(required=True)
        for each in Settlement:
            how.add_argument(
                f"--{each.value.replace(' ', '-')}",
                dest="how",
                action="store_const",
                const=each,
            )
        parser.add_argument("--reason", help="for the messages and the audit log")
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        how: Settlement = options["how"]
        found = _chosen(options)
        ids = list(found.order_by().values_list("pk", flat=True))
        counted = quantity(len(ids), "message")
        self.stdout.write(f"{counted} of unknown outcome {_chosen_by(options)}.")
        if options["dry_run"] or not ids:
            self.stdout.write("Nothing was changed.")
            return
        if not options["reason"]:
            raise CommandError("Say why, with --reason.")
        if not (options["yes"] or _agrees(f"{how.value.capitalize()} {counted}?")):
            raise CommandError("Nothing was changed. To go ahead, add --yes.")
        ruling = Ruling(how, options["reason"], _chosen_by(options))
        settled = settle(ids, ruling, now=timezone.now())
        self.stdout.write(f"{quantity(settled.done, 'message')} {how.done}.")
        for reason, count in settled.refused.most_common():
            self.stdout.write(f"{count:,} left alone: {reason}")


def _chosen(options: dict[str, Any]) -> CampaignMessageQuerySet:
    found = CampaignMessage.objects.filter(provider=options["provider"])
    if options["campaign"] is not None:
        found = found.filter(campaign=options["campaign"])
    if options["since"]:
        found = found.filter(unknown_since__gte=options["since"])
    if not options["failed_too"]:
        found = found.filter(status=MessageStatus.SENDING)
    how: Settlement = options["how"]
    return how.applies_to(found)


def _chosen_by(options: dict[str, Any]) -> str:
    words = [f"at {options['provider']}"]
    if options["campaign"] is not None:
        words.append(f"of campaign {options['campaign']}")
    if options["since"]:
        words.append(f"since {timezone.localtime(options['since']):%Y-%m-%d %H:%M %Z}")
    if options["failed_too"]:
        words.append("or failed at the deadline")
    return ", ".join(words)


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in YES


def _time(text: str) -> datetime:
    if parsed := read_time(text):
        return parsed
    raise ArgumentTypeError(f"{text!r} is not a time such as 2030-01-31T09:00+01:00")
