"""Campaigns and their messages: what is sent, to whom, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property, reduce
from typing import Any, Protocol

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, Max, Min, OuterRef, Q, Subquery
from django.db.models.lookups import Exact
from django.utils import timezone

from messaging.models.suppressions import Suppression
from messaging.rules.quiet_hours import QuietHours
from messaging.rules.retrying import with_time
from messaging.rules.verdicts import outlook
from messaging.vocabulary import CampaignStatus, SuppressionScope
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.rules.outage import Terms
from routing.rules.route import Destination
from routing.vocabulary import CampaignKind, Channel, MessageStatus

# The prefix that replaces an erased recipient (`messaging.consent.erasure`).
ERASED_RECIPIENT = "erased-"
# Long enough for a message in flight at its campaign's cancellation to settle.
SEEN_THROUGH = timedelta(days=30)


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def of_terms(self, terms: Iterable[Terms]) -> CampaignQuerySet:
        """Those whose channel and kind are among these."""
        any_of = [Q(channel=channel, kind=kind) for channel, kind in terms]
        return self.filter(reduce(Q.__or__, any_of)) if any_of else self.none()

    def visible(self) -> CampaignQuerySet:
        """All but the lanes of single messages."""
        return self.filter(is_standing=False)

    def made_from(self, name: str, *, file: str, digest: str) -> CampaignQuerySet:
        """Those of this name whose recipients came from this file, or from one with
        the same content.
        """
        return self.filter(Q(source_file=file) | Q(source_digest=digest), name=name)

    def drafts(self) -> CampaignQuerySet:
        """Those that are not launched yet."""
        return self.filter(status=CampaignStatus.DRAFT)

    def running(self) -> CampaignQuerySet:
        """Those whose messages may leave."""
        return self.filter(status=CampaignStatus.RUNNING)

    def paused(self) -> CampaignQuerySet:
        """Those whose messages are held back."""
        return self.filter(status=CampaignStatus.PAUSED)

    def cancelled(self) -> CampaignQuerySet:
        """Those whose messages were withdrawn, or are about to be."""
        return self.filter(status=CampaignStatus.CANCELLED)

    def with_messages_to_withdraw(self, now: datetime) -> CampaignQuerySet:
        """Cancelled ones that still have queued messages."""
        lately = self.cancelled().filter(completed_at__gt=now - SEEN_THROUGH)
        # Ordering would examine them all first.
        return lately.holding_queued_messages().order_by()

    def open_to_cancel(self) -> CampaignQuerySet:
        """Those that are not over. Lanes of single messages are shared: never these."""
        return self.visible().filter(
            status__in=[
                CampaignStatus.DRAFT,
                CampaignStatus.RUNNING,
                CampaignStatus.PAUSED,
            ]
        )

    def holding_due_messages(self, now: datetime) -> CampaignQuerySet:
        """Those with a due message."""
        due_at = _first_due(CampaignMessage.objects.due(now))
        return self.alias(first_due_at=due_at).filter(first_due_at__isnull=False)

    def holding_queued_messages(self) -> CampaignQuerySet:
        """Those with a message that waits for a worker or for its time."""
        due_at = _first_due(CampaignMessage.objects.queued())
        return self.alias(first_due_at=due_at).filter(first_due_at__isnull=False)

    def with_due_messages(self, now: datetime) -> CampaignQuerySet:
        """Running ones with work to do now, the most urgent first."""
        return self.running().holding_due_messages(now).order_by("-priority", "id")

    def finished(self) -> CampaignQuerySet:
        """Running ones with no message left to send; lanes of single messages aside."""
        due_at = _first_due(CampaignMessage.objects.queued())
        # "+ 0" keeps the planner off the campaign's index, which holds every message
        # ever sent; those in Sending are few.
        leased = CampaignMessage.objects.sending().alias(of=F("campaign_id") + 0)
        lease = Subquery(
            leased.filter(of=OuterRef("pk")).order_by().values("lease_expires_at")[:1]
        )
        running = self.running().visible().alias(first_due_at=due_at, first_lease=lease)
        return running.filter(first_due_at=None, first_lease=None)


# Not a foreign key: it outlives the user, and costs no look-up.
OWNER_HELP = "The user in whose name a program made it. Null: nobody's in particular."


def _first_due(messages: CampaignMessageQuerySet) -> Subquery:
    """When a campaign's first message falls due: one index probe, whatever its size.
    PostgreSQL may turn an EXISTS into a join that scans all messages.
    """
    rows = messages.filter(campaign=OuterRef("pk")).order_by("due_at", "id")
    return Subquery(rows.values("due_at")[:1])


class Campaign(models.Model):
    """A text, an audience, a channel and a time.

    It is also the lane that its messages queue in: changing this one row pauses,
    cancels or hurries them all. Single messages queue in standing campaigns, one per
    channel and kind, which never end.
    """

    name = models.CharField(max_length=200)
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    subject = models.CharField(max_length=500, blank=True, default="")
    body = models.TextField(help_text="May use fields such as {{first_name}}.")
    media_urls = models.JSONField(default=list, blank=True)
    kind = models.PositiveSmallIntegerField(
        choices=CampaignKind.choices, default=CampaignKind.MARKETING
    )
    status = models.PositiveSmallIntegerField(
        choices=CampaignStatus.choices, default=CampaignStatus.DRAFT
    )
    priority = models.PositiveSmallIntegerField(
        default=5, help_text="Campaigns with a higher number go first."
    )
    message_count = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="With how many messages it was loaded. Null: before this was kept.",
    )
    # Null is what a worker of the previous version writes.
    source_file = models.CharField(  # noqa: DJ001
        max_length=500,
        null=True,
        blank=True,
        editable=False,
        help_text="The file that its recipients came from. Null: another way.",
    )
    source_digest = models.CharField(  # noqa: DJ001
        max_length=64,
        null=True,
        blank=True,
        editable=False,
        help_text="SHA-256 of what that file contained.",
    )
    is_standing = models.BooleanField(
        default=False, help_text="The lane of single messages of its channel and kind."
    )
    scheduled_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Messages still waiting then are not sent."
    )
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="Nothing leaves from this local time on ..."
    )
    quiet_until = models.TimeField(
        null=True, blank=True, help_text="... until this one, where the recipient is."
    )
    owner_id = models.BigIntegerField(null=True, blank=True, help_text=OWNER_HELP)
    created_at = models.DateTimeField(auto_now_add=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = CampaignQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "kind"],
                condition=Q(is_standing=True),
                name="one_lane_for_single_messages",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False)
                & ~Q(quiet_from=F("quiet_until")),
                name="quiet_hours_begin_and_end",
                violation_error_message="Quiet hours need a beginning and an end, at "
                "different times.",
            ),
        ]
        indexes = [
            models.Index(
                fields=["-priority", "id"],
                condition=Q(status=CampaignStatus.RUNNING),
                name="campaign_running",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def terms(self) -> Terms:
        """Its channel and kind, which never change; computed once, not per message."""
        return Terms(Channel(self.channel), CampaignKind(self.kind))

    @property
    def quiet_hours(self) -> QuietHours | None:
        """When its messages do not leave, by the recipient's clock.

        Single messages have the default quiet hours of their kind.
        """
        if self.is_standing:
            return usual_quiet_hours(self.kind)
        if self.quiet_from is None or self.quiet_until is None:
            return None
        return QuietHours(self.quiet_from, self.quiet_until)


def usual_quiet_hours(kind: int) -> QuietHours | None:
    """The default quiet hours: QUIET_HOURS for marketing, none for transactional."""
    hours: QuietHours | None = settings.QUIET_HOURS
    return hours if kind == CampaignKind.MARKETING else None


class CampaignMessageQuerySet(models.QuerySet["CampaignMessage"]):
    def with_suppression(self) -> CampaignMessageQuerySet:
        """Each with the `suppression_id` that holds it back, or None.

        This costs one index probe per message; an EXISTS may read all suppressions.
        """
        kind = OuterRef("campaign__kind")
        suppressions = Suppression.objects.filter(
            Q(scope=SuppressionScope.ALL) | Exact(kind, CampaignKind.MARKETING),
            address=OuterRef("recipient"),
        )
        ids = suppressions.order_by().values("id")
        # The model declares it for readers, which the type checker takes for a clash.
        return self.annotate(  # type: ignore[no-redef]
            suppression_id=Subquery(ids[:1])
        )

    def queued(self) -> CampaignMessageQuerySet:
        """Those that wait for a worker or for their time."""
        return self.filter(status=MessageStatus.QUEUED)

    def sending(self) -> CampaignMessageQuerySet:
        """Those that a provider has or may have."""
        return self.filter(status=MessageStatus.SENDING)

    def due(self, now: datetime) -> CampaignMessageQuerySet:
        """Queued ones whose time has come, whatever their campaign's state."""
        return self.queued().filter(due_at__lte=now)

    def outcome_unknown(self) -> CampaignMessageQuerySet:
        """Those that wait to learn whether a provider has sent them."""
        return self.filter(status=MessageStatus.SENDING, unknown_since__isnull=False)

    def without_verdict(
        self, *, since: datetime, until: datetime
    ) -> CampaignMessageQuerySet:
        """Those accepted in this period that have no final receipt yet."""
        return self.filter(
            status=MessageStatus.SENT, sent_at__gt=since, sent_at__lte=until
        )

    def created_since(self, since: datetime) -> CampaignMessageQuerySet:
        """Those created from this time on. Found by their ids, which are given in the
        order of creation: an index of the time would slow every insert.
        """
        return self.filter(created_at__gte=since, pk__gte=_id_before(since))

    def lost(self, *, since: datetime) -> CampaignMessageQuerySet:
        """Those that failed or bounced from this time on."""
        lost = [MessageStatus.FAILED, MessageStatus.BOUNCED]
        return self.filter(status__in=lost, finished_at__gte=since)

    def ended_by_error(self, **error: Any) -> CampaignMessageQuerySet:
        """Those whose last attempt failed, or was reported to have failed, with this
        `error_class` and `error_code`.
        """
        last = {"message": OuterRef("pk"), "attempt_number": OuterRef("attempt_count")}
        last |= error
        attempts = MessageDeliveryAttempt.objects.filter(**last)
        receipts = DeliveryReceipt.objects.filter(**last)
        return self.filter(Exists(attempts) | Exists(receipts))

    def quarantined(self) -> CampaignMessageQuerySet:
        """Those taken out of the queue because they made workers fail."""
        return self.filter(status=MessageStatus.FAILED, quarantined_at__isnull=False)

    def possible_duplicates(self) -> CampaignMessageQuerySet:
        """Those that may have reached their recipient twice."""
        return self.filter(double_risk_at__isnull=False)

    def unsettled(self) -> CampaignMessageQuerySet:
        """Those with an unknown outcome, waiting or already given up."""
        return self.filter(
            status__in=[MessageStatus.SENDING, MessageStatus.FAILED],
            unknown_since__isnull=False,
        )

    def lease_expired(self, now: datetime) -> CampaignMessageQuerySet:
        """Those whose worker died, or whose verdict did not come in time."""
        return self.sending().filter(lease_expires_at__lte=now)


# Between the time of a message and the moment it gets its id.
LATEST_ID_AFTER = timedelta(hours=1)
NEAR_ENOUGH = 1000  # ids


def _id_before(moment: datetime) -> int:
    """An id below those of all messages created from this time on, and not far below:
    found by halving, some 20 reads by the primary key.
    """
    moment -= LATEST_ID_AFTER
    ids = CampaignMessage.objects.order_by("pk").values_list("pk", "created_at")
    ends = CampaignMessage.objects.aggregate(low=Min("pk"), high=Max("pk"))
    low, high = ends["low"] or 0, ends["high"] or 0
    while high - low > NEAR_ENOUGH:
        middle = (low + high) // 2
        found = ids.filter(pk__gte=middle).first()
        if found is None or found[1] >= moment:
            high = middle
        else:
            low = found[0]
    return low


class _Facts(Protocol):
    """The columns that `MessageFacts` reads."""

    @property
    def campaign(self) -> Campaign: ...
    @property
    def recipient(self) -> str: ...
    @property
    def country(self) -> str: ...
    @property
    def media_urls(self) -> list[str] | None: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def expiry(self) -> datetime | None: ...


class MessageFacts:
    """Facts derived from a message's columns and its campaign."""

    @property
    def expiry(self: _Facts) -> datetime | None:
        """When it expires, by its own time or its campaign's; None: never."""
        return self.expires_at or self.campaign.expires_at

    def is_expired(self: _Facts, now: datetime) -> bool:
        """Whether it has expired."""
        expiry = self.expiry
        return expiry is not None and expiry <= now

    @property
    def media(self: _Facts) -> list[str]:
        """The media URLs that it carries."""
        if self.media_urls is None:
            return list(self.campaign.media_urls)
        return list(self.media_urls)

    @property
    def destination(self: _Facts) -> Destination:
        """What routes need to know of where it is going."""
        channel, kind = self.campaign.terms
        return Destination(channel, self.recipient, self.country, kind)


class CampaignMessage(MessageFacts, models.Model):
    """One text to one recipient. The row is its own place in the queue.

    While it is being sent, the row is also the write-ahead record: owner, attempt
    number and provider are on it before the provider is called.
    """

    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.PROTECT,
        related_name="messages",
        db_index=False,  # the unique constraint and the due index start with it
    )
    channel = models.PositiveSmallIntegerField(choices=Channel.choices)
    recipient = models.CharField(
        max_length=254, help_text="E.164 number or e-mail address."
    )
    occurrence = models.BigIntegerField(
        default=0,
        help_text="0: the campaign's one message to its recipient. "
        "Single messages have a random number each.",
    )
    country = models.CharField(max_length=2, blank=True, default="")
    subject = models.CharField(
        max_length=500, blank=True, default="", help_text="Blank: the campaign's."
    )
    body = models.TextField(blank=True, default="", help_text="Blank: the campaign's.")
    media_urls = models.JSONField(
        null=True, blank=True, help_text="Null: the campaign's."
    )
    segments = models.PositiveSmallIntegerField(default=1)
    status = models.PositiveSmallIntegerField(
        choices=MessageStatus.choices, default=MessageStatus.QUEUED
    )
    status_reason = models.CharField(max_length=500, blank=True, default="")
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    provider = models.CharField(
        max_length=100, blank=True, default="", help_text="The last one chosen."
    )
    call_id = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The first message of the call that it shares with others.",
    )
    attempt_count = models.PositiveSmallIntegerField(default=0)
    retry_count = models.PositiveSmallIntegerField(default=0)
    lease_owner = models.BigIntegerField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    unknown_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when nobody knows whether a provider has sent it.",
    )
    quarantined_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When it was taken out of the queue, for it made workers fail.",
    )
    double_risk_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when two attempts are taken to have got through.",
    )
    owner_id = models.BigIntegerField(null=True, blank=True, help_text=OWNER_HELP)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = CampaignMessageQuerySet.as_manager()

    suppression_id: int | None  # only with `with_suppression`

    class Meta:
        verbose_name = "message"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "recipient", "occurrence"],
                name="one_message_per_occurrence",
            ),
            models.CheckConstraint(
                condition=Q(
                    status=MessageStatus.SENDING, lease_expires_at__isnull=False
                )
                | ~Q(status=MessageStatus.SENDING) & Q(lease_expires_at__isnull=True),
                name="only_sending_has_a_lease",
            ),
        ]
        indexes = [
            models.Index(
                fields=["campaign", "due_at", "id"],
                condition=Q(status=MessageStatus.QUEUED),
                name="message_due",
            ),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(status=MessageStatus.SENDING),
                name="message_leased",
            ),
            models.Index(
                fields=["sent_at"],
                condition=Q(status=MessageStatus.SENT),
                name="message_without_verdict",
            ),
            # Operators and integrators look for what one recipient got.
            models.Index(fields=["recipient"], name="message_recipient"),
            # For tokens that are bound to what their user made.
            models.Index(
                fields=["owner_id", "id"],
                condition=Q(owner_id__isnull=False),
                name="message_owner",
            ),
            models.Index(
                fields=["quarantined_at"],
                condition=Q(quarantined_at__isnull=False),
                name="message_quarantined",
            ),
            models.Index(
                fields=["provider", "unknown_since"],
                condition=Q(unknown_since__isnull=False),
                name="message_unknown",
            ),
            # The latest failures, which operators group by reason.
            models.Index(
                fields=["finished_at"],
                condition=Q(status__in=[MessageStatus.FAILED, MessageStatus.BOUNCED]),
                name="message_lost",
            ),
            models.Index(
                fields=["double_risk_at"],
                condition=Q(double_risk_at__isnull=False),
                name="message_double_risk",
            ),
        ]

    def __str__(self) -> str:
        return f"Message {self.pk}"

    def reason_shown(self, *, now: datetime) -> str:
        """The reason for its status, for people; with the time of a retry, or with what
        becomes of an unknown outcome.
        """
        if self.status == MessageStatus.SENDING and self.unknown_since:
            return f"{self.status_reason} {self._outlook(now)}".strip()
        if self.status != MessageStatus.QUEUED:
            return self.status_reason
        due_at = timezone.localtime(self.due_at)
        return with_time(self.status_reason, due_at=due_at, now=now)

    def _outlook(self, now: datetime) -> str:
        wait = timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
        next_at = now if self.lease_owner else self.lease_expires_at
        deadline = (self.unknown_since or now) + wait
        return outlook(
            provider=self.provider,
            next_at=timezone.localtime(next_at),
            deadline=timezone.localtime(deadline),
            now=now,
        )

    @property
    def is_outcome_unknown(self) -> bool:
        """Whether it is unknown if a provider has sent it."""
        return self.unknown_since is not None
