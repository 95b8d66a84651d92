"""The life of a campaign: create, launch, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from messaging.audience.load import (
    Chunk,
    Draft,
    LoadReport,
    OnProgress,
    OnRejected,
    ReadAhead,
    add_recipients,
    drafts_of,
)
from messaging.audience.recipients import Recipient, RecipientFile, Rejection
from messaging.models import (
    Campaign,
    CampaignMessage,
    CampaignQuerySet,
)
from messaging.queue.coordination import notify_workers
from messaging.rules.content import (
    ContentError,
    check_body,
    check_media,
    check_quiet_hours,
    check_subject,
    check_times,
    is_unicode,
)
from messaging.rules.merge_fields import check_columns
from messaging.rules.quiet_hours import QuietHours
from messaging.rules.wording import Wording
from messaging.transitions import withdraw
from messaging.vocabulary import CampaignStatus
from routing.decision.readiness import problems_of, readiness
from routing.signals import report
from routing.text.quantities import quantity
from routing.vocabulary import CampaignKind, Channel


class CampaignError(ValueError):
    """The campaign cannot be sent as it is; the text says what to change."""


class AlreadySent(CampaignError):
    """A campaign of this name was made from the same file before."""

    def __init__(self, earlier: Campaign) -> None:
        messages = quantity(earlier.message_count or 0, "message")
        super().__init__(
            f"Campaign {earlier.pk} {earlier.name!r} was made from the same file, on "
            f"{earlier.created_at:%Y-%m-%d at %H:%M} UTC, with {messages}."
        )


class TooMuchText(CampaignError):
    """One request would store too much text for its recipients."""


# Characters. A 40 kB request could otherwise store 260 MB: a thousand long e-mails.
TEXT_AT_ONCE = 16_000_000

# What may be done with a campaign, by its status.
_POSSIBLE = {
    CampaignStatus.DRAFT: "add recipients, launch or cancel it",
    CampaignStatus.RUNNING: "pause or cancel it",
    CampaignStatus.PAUSED: "resume or cancel it",
}


class WrongState(CampaignError):
    """The campaign's status does not allow this; the text says what it allows."""

    def __init__(self, campaign: Campaign) -> None:
        status = CampaignStatus(campaign.status)
        possible = _POSSIBLE.get(status)
        super().__init__(
            f"The campaign is {status.label.lower()}: "
            + (f"you can {possible}." if possible else "it cannot be changed any more.")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignText:
    """A campaign's content, channel and times (None: at once)."""

    name: str
    channel: Channel
    body: str
    subject: str = ""
    media_urls: Sequence[str] = ()
    kind: CampaignKind = CampaignKind.MARKETING
    priority: int = 5
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    quiet_hours: QuietHours | None = None  # by the recipients' clocks

    @property
    def terms(self) -> tuple[Channel, CampaignKind]:
        """Its channel and kind."""
        return self.channel, self.kind


class Strictness(NamedTuple):
    """Optional reasons to refuse rows or the whole campaign."""

    reject_blank: bool = False  # rows with a blank field that has no default
    once: bool = False  # AlreadySent if a campaign of this name used the same file


LENIENT = Strictness()


def send_campaign(
    text: CampaignText,
    recipients: RecipientFile,
    *,
    now: datetime,
    on_rejected: OnRejected,
    on_progress: OnProgress = lambda: None,
    strictness: Strictness = LENIENT,
) -> tuple[Campaign, LoadReport]:
    """Create a campaign from a file and launch it.

    Everything is in one transaction (the first rows are read before it), so that
    CampaignError and RecipientFileError leave the database as it was.
    """
    wording = check_campaign(
        text, recipients.columns, now=now, reject_blank=strictness.reject_blank
    )
    chunks = drafts_of(wording, recipients)
    chunks.read_ahead()
    with transaction.atomic():
        if strictness.once:
            _lock_name(text.name)
            refuse_a_second(text.name, recipients)
        campaign = create_campaign(text, recipients, now=now)
        report = add_recipients(
            campaign,
            chunks,
            due_at=text.scheduled_at or now,
            on_rejected=on_rejected,
            on_progress=on_progress,
        )
        if not report.accepted:
            refuse_without_rows(recipients, rejected=report.rejected)
            raise CampaignError(
                f"{recipients.path} has no usable row; nothing was sent."
            )
        launch_campaign(campaign, now=now)
    return campaign, report


def refuse_without_rows(recipients: RecipientFile, *, rejected: int) -> None:
    """CampaignError if the file had no rows at all: none accepted, none rejected."""
    if not rejected:
        raise CampaignError(f"{recipients.path} has no rows after the header.")


def refuse_a_second(name: str, recipients: RecipientFile) -> None:
    """AlreadySent if a campaign of this name was made from this file, or from one with
    the same content. Usually someone has pressed a key twice.
    """
    made = Campaign.objects.made_from(
        name, file=_source(recipients), digest=recipients.digest
    )
    if earlier := made.first():
        raise AlreadySent(earlier)


def _lock_name(name: str) -> None:
    """Keep others from creating a campaign of this name until the transaction ends.
    SQLite has only one writer anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name]
            )


def _source(recipients: RecipientFile) -> str:
    return str(recipients.path.resolve())[-500:]


@transaction.atomic
def create_campaign(
    text: CampaignText,
    recipients: RecipientFile | None = None,
    *,
    now: datetime,
    owner_id: int | None = None,
) -> Campaign:
    """Create a draft: none of its messages leave before it is launched."""
    check_text(text, now=now)
    quiet = text.quiet_hours
    return Campaign.objects.create(
        name=text.name,
        channel=text.channel,
        kind=text.kind,
        priority=text.priority,
        subject=text.subject,
        body=text.body,
        media_urls=list(text.media_urls),
        scheduled_at=text.scheduled_at,
        expires_at=text.expires_at,
        quiet_from=quiet.start if quiet else None,
        quiet_until=quiet.end if quiet else None,
        source_file=_source(recipients) if recipients else None,
        source_digest=recipients.digest if recipients else None,
        owner_id=owner_id,
    )


def check_campaign(
    text: CampaignText,
    columns: Sequence[str],
    *,
    now: datetime,
    reject_blank: bool = False,
) -> Wording:
    """Refuse a text that could not be sent to recipients with these columns."""
    check_text(text, now=now)
    wording = wording_of(text, reject_blank=reject_blank)
    try:
        check_columns(wording.body, columns, wording.own)
        check_columns(wording.subject, columns)
    except ContentError as error:
        raise CampaignError(str(error)) from error
    check_route(text.channel, text.kind)
    return wording


def wording_of(text: CampaignText | Campaign, *, reject_blank: bool = False) -> Wording:
    """The parsed text; CampaignError if a merge field is malformed."""
    try:
        return Wording(text, reject_blank=reject_blank)
    except ContentError as error:
        raise CampaignError(str(error)) from error


def check_text(text: CampaignText, *, now: datetime) -> None:
    """Refuse a text that could not be sent, before any recipient is read."""
    if not text.name.strip() or len(text.name) > 200:
        raise CampaignError("A campaign needs a name of at most 200 characters.")
    if "\0" in text.name or not is_unicode(text.name):
        raise CampaignError("The name is not valid UTF-8 text.")
    try:
        check_times(text.scheduled_at, text.expires_at, now=now)
        check_body(text.channel, text.body)
        check_subject(text.channel, text.subject)
        check_media(text.channel, text.media_urls)
        check_quiet_hours(text.kind, text.quiet_hours)
        Wording(text)
    except ContentError as error:
        raise CampaignError(str(error)) from error


def check_route(channel: Channel, kind: CampaignKind) -> None:
    """Refuse a channel without a route, or with a route whose providers cannot send."""
    routes = readiness(channel, kind)
    if not routes:
        raise CampaignError(
            f"There is no active route for {channel.label}. Add one in the admin, or "
            "run `manage.py loaddata default_routes`."
        )
    if dead := [each for each in routes if not each.can_send]:
        names = ", ".join(map(str, dead))
        problems = " ".join(problems_of(dead))
        raise CampaignError(f"No provider of the route {names} can send. {problems}")


def add_to_draft(
    campaign: Campaign,
    rows: Iterable[Recipient | Rejection],
    *,
    now: datetime,
    on_rejected: OnRejected,
    reject_blank: bool = False,
) -> LoadReport:
    """Queue more messages of a draft.

    The texts are made first. Then the campaign's row is locked for the insert, so that
    no other process launches it or adds the same recipients.
    """
    wording = wording_of(campaign, reject_blank=reject_blank)
    chunks = ReadAhead(iter(_bounded(drafts_of(wording, rows))))
    with transaction.atomic():
        draft = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
        if draft.status != CampaignStatus.DRAFT:
            raise WrongState(draft)
        due_at = max(draft.scheduled_at or now, now)
        done = add_recipients(draft, chunks, due_at=due_at, on_rejected=on_rejected)
        report("add recipients", draft, accepted=done.accepted)
        return done


def _bounded(chunks: Iterable[Chunk]) -> list[Chunk]:
    """All chunks as a list; TooMuchText if their texts are too long in all."""
    bounded, size = [], 0
    for chunk in chunks:
        bounded.append(chunk)
        size += sum(len(one.own.body) for one in chunk if isinstance(one, Draft))
        if size > TEXT_AT_ONCE:
            raise TooMuchText(
                f"The texts of these recipients have more than {TEXT_AT_ONCE:,} "
                "characters in all. Send fewer recipients at once."
            )
    return bounded


@transaction.atomic
def launch_campaign(campaign: Campaign, *, now: datetime) -> None:
    """Let a draft's messages leave as they fall due."""
    check_route(Channel(campaign.channel), CampaignKind(campaign.kind))
    if campaign.status == CampaignStatus.DRAFT and not campaign.messages.exists():
        raise CampaignError("The campaign has no recipients. Add some, then launch it.")
    if campaign.expires_at is not None and campaign.expires_at <= now:
        at = campaign.expires_at.isoformat()
        raise CampaignError(f"The campaign expired at {at}; nothing would be sent.")
    launched = (
        Campaign.objects.drafts()
        .filter(pk=campaign.pk)
        .update(status=CampaignStatus.RUNNING, launched_at=now)
    )
    campaign.refresh_from_db()
    if not launched:
        raise WrongState(campaign)
    report("launch", campaign)
    notify_workers()


def pause_campaigns(campaigns: CampaignQuerySet, *, reason: str = "") -> int:
    """Hold back messages not sent yet; returns how many campaigns were paused."""
    return _move(campaigns.running(), CampaignStatus.PAUSED, "pause", reason)


def resume_campaigns(campaigns: CampaignQuerySet, *, reason: str = "") -> int:
    """Let paused campaigns continue; returns how many were resumed."""
    resumed = _move(campaigns.paused(), CampaignStatus.RUNNING, "resume", reason)
    notify_workers()
    return resumed


@transaction.atomic
def _move(
    campaigns: CampaignQuerySet, status: CampaignStatus, action: str, reason: str
) -> int:
    locked = campaigns.select_for_update(no_key=True).order_by("pk")
    chosen = {campaign.pk: campaign for campaign in locked}
    for campaign in chosen.values():
        report(action, campaign, **_because(reason))
    return Campaign.objects.filter(pk__in=chosen).update(status=status)


def _because(reason: str) -> dict[str, str]:
    """For the audit log."""
    return {"reason": reason} if reason else {}


# Messages that a cancellation withdraws before it returns; workers withdraw the rest.
AT_ONCE = 2000
# The least per campaign if there are several: more than claims can hold locked.
AT_LEAST = 200


@dataclass(slots=True)
class Withdrawal:
    """The result of a cancellation."""

    campaigns: int = 0
    withdrawn: int = 0  # messages that were queued, and will not leave
    in_flight: int = 0  # messages that a provider has or may have


def cancel_campaigns(
    campaigns: CampaignQuerySet, *, reason: str = "", now: datetime
) -> Withdrawal:
    """Withdraw messages not sent yet, for good; as fast for a million as for a few.

    1. close the lanes, which is quick: later claims take nothing from them
    2. withdraw the first messages of each lane; this waits for claims under way, which
       hold some of these
    3. count the rest of the queue: none of it leaves any more, and workers' sweeps
       withdraw it in batches
    4. count the messages in flight

    A provider call under way is not interrupted: the provider may already have the
    message. No other provider is called after it. If the caller dies after step 1, the
    sweeps do the rest.
    """
    ids = list(campaigns.open_to_cancel().values_list("pk", flat=True))
    done = Withdrawal(campaigns=_close(ids, reason, now))
    ours = Campaign.objects.filter(pk__in=ids, status=CampaignStatus.CANCELLED)
    ids = list(ours.values_list("pk", flat=True))
    share = max(AT_LEAST, AT_ONCE // max(1, len(ids)))
    for pk in ids:
        of_one = CampaignMessage.objects.filter(campaign=pk)
        done.withdrawn += withdraw(of_one, now=now, at_most=share)
    messages = CampaignMessage.objects.filter(campaign__in=ids)
    done.withdrawn += messages.queued().count()
    done.in_flight = messages.sending().count()
    return done


@transaction.atomic
def _close(ids: Sequence[int], reason: str, now: datetime) -> int:
    """Cancel the campaigns that are still open; returns how many."""
    still_open = Campaign.objects.open_to_cancel().filter(pk__in=ids)
    for campaign in still_open.select_for_update(no_key=True).order_by("pk"):
        report("cancel", campaign, **_because(reason))
    return still_open.update(status=CampaignStatus.CANCELLED, completed_at=now)
