"""manage.py send_campaign: create and launch a campaign from a CSV file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from messaging.audience.load import LoadReport
from messaging.audience.recipients import RecipientFile, RecipientFileError
from messaging.audience.rejects_file import RejectsFile
from messaging.campaigns import (
    AlreadySent,
    CampaignError,
    CampaignText,
    Strictness,
    send_campaign,
)
from messaging.management.arguments import (
    COUNTRY_IN,
    Arguments,
    add_default_region,
    read_time,
)
from messaging.models import Campaign, usual_quiet_hours
from messaging.preview import Preview, amounts, preview_campaign
from messaging.progress_bar import loading_bar, watch_campaigns
from messaging.rules.merge_fields import foreign_fields
from messaging.rules.quiet_hours import QuietHours, QuietHoursError
from messaging.single_messages import HIGHEST_OF_CAMPAIGNS, PRIORITIES
from routing.decision.planner import Planner
from routing.decision.readiness import problems_of, readiness
from routing.terminal import PlainCommand, PlainConsole
from routing.text.quantities import quantity
from routing.text.untrusted import escaped
from routing.vocabulary import CampaignKind, Channel

YES = {"y", "yes"}
AGAIN = "To send it again, add --again."
SAMPLE_SHOWN = 2000  # characters


class Command(PlainCommand):
    help = (
        "Queue a campaign for the recipients of a CSV file (UTF-8, with commas, "
        "semicolons or tabs, and a header: 'phone' or 'email', and any columns that "
        "the text uses as {{column}}). Rows that cannot be used go to "
        "FILE.rejected.csv with line, reason and all their cells; correct them there, "
        "and send that file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        for title, add in GROUPS.items():
            add(parser.add_argument_group(title))

    def handle(self, *args: Any, **options: Any) -> None:
        rejects = RejectsFile(Path(options["recipients"]))
        if options["dry_run"]:
            self._preview(options, rejects)
            return
        try:
            campaign, report = self._send_or_ask(options, rejects)
        except (CampaignError, RecipientFileError) as error:
            raise CommandError(f"{error}{rejects.hint}") from error
        self.stdout.write(
            f"Campaign {campaign.pk}: {quantity(report.accepted, 'message')} queued, "
            f"{quantity(report.rejected, 'row')} rejected.{rejects.hint}"
        )
        for warning in _warnings(campaign, report.blanks):
            self.stderr.write(self.style.WARNING(warning))
        if campaign.scheduled_at:
            at = timezone.localtime(campaign.scheduled_at)
            self.stdout.write(f"Sending starts at {at:%Y-%m-%d %H:%M %Z}.")
        if hours := campaign.quiet_hours:
            self.stdout.write(f"Quiet hours: {hours}, in each recipient's local time.")
        if options["watch"]:
            watch_campaigns([campaign.pk], console=PlainConsole())

    def _preview(self, options: dict[str, Any], rejects: RejectsFile) -> None:
        try:
            text, recipients = _text(options), _recipients(options)
            with rejects.of(recipients):
                preview = preview_campaign(
                    text,
                    recipients,
                    planner=Planner(rng=Random()),  # noqa: S311 - no secret
                    now=timezone.now(),
                    on_rejected=rejects.write,
                    strictness=_strictness(options),
                )
        except AlreadySent as error:
            raise CommandError(f"{error} {AGAIN}") from error
        except (CampaignError, RecipientFileError) as error:
            raise CommandError(f"{error}{rejects.hint}") from error
        for warning in _warnings(text, preview.blanks):
            self.stderr.write(self.style.WARNING(warning))
        self.stdout.writelines(f"{line}\n" for line in _described(preview, text))
        self.stdout.write(f"Dry run: nothing was queued.{rejects.hint}")

    def _send_or_ask(
        self, options: dict[str, Any], rejects: RejectsFile
    ) -> tuple[Campaign, LoadReport]:
        """Ask before sending a second campaign of the same name and file."""
        try:
            return self._send(options, rejects)
        except AlreadySent as error:
            if not (options["interactive"] and sys.stdin.isatty()):
                raise CampaignError(f"{error} {AGAIN}") from None
            if input(f"{error} Send it again? [y/N] ").strip().lower() not in YES:
                raise CampaignError("Nothing was sent.") from None
        return self._send(options | {"again": True}, rejects)

    def _send(
        self, options: dict[str, Any], rejects: RejectsFile
    ) -> tuple[Campaign, LoadReport]:
        text, recipients = _text(options), _recipients(options)
        with (
            loading_bar(recipients, console=PlainConsole(stderr=True)) as on_progress,
            rejects.of(recipients),
        ):
            return send_campaign(
                text,
                recipients,
                now=timezone.now(),
                on_rejected=rejects.write,
                on_progress=on_progress,
                strictness=_strictness(options),
            )


def _add_text(group: Arguments) -> None:
    group.add_argument("--channel", required=True, help="sms, mms or email")
    group.add_argument("--name", required=True, help="shown to operators only")
    group.add_argument("--body", required=True, metavar="TEXT")
    group.add_argument("--subject", default="", help="e-mail only")
    group.add_argument(
        "--media", action="append", default=[], metavar="URL", help="MMS only"
    )
    group.add_argument(
        "--kind",
        default="marketing",
        help="marketing (default) or transactional; routes may depend on it",
    )


def _add_times(group: Arguments) -> None:
    group.add_argument(
        "--schedule",
        metavar="ISO",
        help="send at this time, such as 2030-01-31T09:00+01:00, not at once",
    )
    group.add_argument(
        "--expires",
        metavar="ISO",
        help="do not send messages that still wait at this time",
    )
    group.add_argument(
        "--priority",
        type=_priority,
        default=PRIORITIES[CampaignKind.MARKETING],
        help="0 to 99 (%(default)s); campaigns with a higher number go first",
    )
    group.add_argument(
        "--quiet-hours",
        metavar="FROM-UNTIL",
        help="send nothing between these times where the recipient is, such as "
        "21:00-08:00; or none (default: QUIET_HOURS, for marketing)",
    )


def _add_recipients(group: Arguments) -> None:
    group.add_argument("--recipients", required=True, type=Path, metavar="FILE")
    add_default_region(group)
    group.add_argument(
        "--reject-blank",
        action="store_true",
        help="reject rows with a blank field that has no default; a default is "
        "written {{first_name|there}}",
    )


def _add_run(group: Arguments) -> None:
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="queue nothing; print what would be sent, and what it would cost",
    )
    group.add_argument(
        "--again",
        action="store_true",
        help="send even if a campaign of this name was made from this file before",
    )
    group.add_argument(
        "--no-input",
        "--noinput",
        action="store_false",
        dest="interactive",
        help="never ask; refuse instead",
    )
    group.add_argument(
        "--watch", action="store_true", help="show progress until all are sent"
    )


def _priority(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= HIGHEST_OF_CAMPAIGNS:
        return int(text)
    raise ArgumentTypeError(
        f"{text!r} is not a number from 0 to {HIGHEST_OF_CAMPAIGNS}"
    )


# The groups of `--help`.
GROUPS = {
    "content": _add_text,
    "recipients": _add_recipients,
    "times": _add_times,
    "this run": _add_run,
}


def _described(preview: Preview, text: CampaignText) -> Iterator[str]:
    """A preview, line by line."""
    is_sms = text.channel == Channel.SMS
    segments = f", {quantity(preview.segments, 'segment')}" if is_sms else ""
    leaving = preview.accepted - preview.suppressed
    yield f"{quantity(leaving, 'message')} would leave{segments}."
    if preview.suppressed:
        yield f"{quantity(preview.suppressed, 'message')} would be suppressed."
    yield f"{quantity(preview.rejected, 'row')} rejected."
    for reason, count in preview.reasons.most_common():
        yield f"  {count}: {reason}"
    for provider, share in sorted(preview.shares.items()):
        costs = [*filter(None, [amounts(share.costs)])]
        if share.unpriced:
            costs.append(f"{share.unpriced} without a known price")
        yield f"By {provider}: {share.messages}, {', '.join(costs)}."
    if sample := preview.sample:
        subject = f"{sample.subject}\n\n" if sample.subject else ""
        yield f"Line {sample.line}, to {sample.to}:"
        for line in f"{subject}{sample.body}"[:SAMPLE_SHOWN].splitlines():
            yield f"  {escaped(line)}"


def _strictness(options: dict[str, Any]) -> Strictness:
    return Strictness(reject_blank=options["reject_blank"], once=not options["again"])


def _recipients(options: dict[str, Any]) -> RecipientFile:
    return RecipientFile(
        Path(options["recipients"]),
        channel=_channel(options["channel"]),
        default_region=options["default_region"],
        country_in=COUNTRY_IN,
    )


def _warnings(text: Campaign | CampaignText, blanks: Counter[str]) -> Iterator[str]:
    """What may be a mistake."""
    for problem in problems_of(
        readiness(Channel(text.channel), CampaignKind(text.kind))
    ):
        yield f"A provider of its route is not used. {problem}"
    for name, count in blanks.items():
        yield f"Blank {name}: {quantity(count, 'recipient')}."
    if foreign := foreign_fields(f"{text.subject}\n{text.body}"):
        yield (
            f"Sent unchanged: {', '.join(foreign)}. Write fields as {{{{first_name}}}}."
        )


def _text(options: dict[str, Any]) -> CampaignText:
    kind = _kind(options["kind"])
    return CampaignText(
        name=options["name"],
        channel=_channel(options["channel"]),
        body=options["body"],
        subject=options["subject"],
        media_urls=options["media"],
        kind=kind,
        priority=options["priority"],
        scheduled_at=_time("--schedule", options["schedule"]),
        expires_at=_time("--expires", options["expires"]),
        quiet_hours=_quiet_hours(options["quiet_hours"], kind),
    )


def _channel(name: str) -> Channel:
    try:
        return Channel[name.upper()]
    except KeyError:
        known = ", ".join(channel.name.lower() for channel in Channel)
        raise CampaignError(
            f"Unknown channel {name!r}. Channels are: {known}."
        ) from None


def _kind(name: str) -> CampaignKind:
    try:
        return CampaignKind[name.upper()]
    except KeyError:
        known = ", ".join(kind.name.lower() for kind in CampaignKind)
        raise CampaignError(f"Unknown kind {name!r}. Kinds are: {known}.") from None


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    if parsed := read_time(text):
        return parsed
    raise CampaignError(
        f"{option} {text!r} is not a time such as 2030-01-31T09:00+01:00."
    )


def _quiet_hours(text: str | None, kind: CampaignKind) -> QuietHours | None:
    if text is None:
        return usual_quiet_hours(kind)
    if text.strip().lower() == "none":
        return None
    try:
        return QuietHours.parse(text)
    except QuietHoursError as error:
        raise CampaignError(f"--quiet-hours: {error}") from error
