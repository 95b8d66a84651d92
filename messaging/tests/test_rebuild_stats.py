"""Statistics rebuilt from the records: the same, whatever happened."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from marketing_platform.testing.installation import wait_until
from messaging.campaigns import cancel_campaigns
from messaging.message_actions import InterventionRefused, cancel_message, retry_message
from messaging.models import Campaign, CampaignMessage, RetentionMark, Suppression
from messaging.queue.completion import close_campaigns
from messaging.queue.recover import (
    recover_attempts,
    recover_expired_leases,
)
from messaging.rebuild import rebuild_statistics
from messaging.tests.scenario import LEASE, NOW, accepted, claim, failed, write
from messaging.tests.tallies import (
    DAY,
    HOUR,
    LONG_AGO,
    differences,
    drain,
    enqueue,
    receive,
    statuses,
    total,
)
from messaging.vocabulary import SuppressionReason
from routing.decision.planner import RoutingTable
from routing.factories import RouteFactory, retry_rule
from routing.models import ChannelRoutingConfig, StatisticsEntry
from routing.money import Money
from routing.providers.base import (
    OutcomeUnknown,
    ProviderError,
    RecipientError,
)
from routing.rules.decide import AwaitVerdict, Decision, FallBack, GiveUp, Retry
from routing.rules.tally import Tally
from routing.statistics.entries import compact_entries, read_totals
from routing.vocabulary import (
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
    UnknownOutcomePolicy,
)

# Rebuilding takes a snapshot, which no enclosing transaction may have taken before.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]
VERDICTS = [
    MessageStatus.SENT,
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.BOUNCED,
    None,
]


@pytest.mark.parametrize("seed", range(4))
def test_made_anew_the_statistics_are_the_same_whatever_happened(route, seed):
    world = World(Random(seed))

    for _ in range(250):
        world.step()

    assert differences() == []
    assert total().attempts > 30
    assert len(statuses()) > 6


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="an in-memory SQLite database has one thread"
)
def test_a_campaign_over_the_wire_counts_for_what_is_on_record(live_server, simulator):
    RouteFactory(initial_retry_delay_seconds=0, max_retry_delay_seconds=1)
    simulator.configure(undelivered_share=0.2, duplicate_receipt_share=0.2)
    simulator.set_fault("TwilioSMS", "unavailable", share=0.3)
    enqueue(150, due_at=timezone.now())

    drain()
    wait_until(lambda: not simulator.state()["receipts"]["pending"])

    tally = total()
    assert differences() == []
    assert tally.messages(MessageStatus.DELIVERED) > 50
    assert tally.delivery_rate < 1
    assert tally.fallbacks(FallbackReason.PROVIDER_UNAVAILABLE) > 5
    assert tally.average_response_ms > 0
    assert tally.spending()["USD"].total > 0


def test_statistics_that_were_lost_are_made_anew(route):
    world = World(Random(1))
    for _ in range(60):
        world.step()
    before = dict(read_totals().tallies())
    StatisticsEntry.objects.all().delete()

    list(rebuild_statistics(since=LONG_AGO))

    assert dict(read_totals().tallies()) == before


def test_rebuilding_takes_away_what_never_happened(route):
    enqueue(2)
    before = dict(read_totals().tallies())
    invented = Tally({"status:3": 4, "attempts": 2}).counts
    StatisticsEntry.objects.create(day=NOW.date(), channel=0, tally=invented)

    list(rebuild_statistics(since=LONG_AGO))

    assert dict(read_totals().tallies()) == before


def test_a_dry_run_changes_nothing(route):
    enqueue()
    StatisticsEntry.objects.all().delete()

    assert len(differences()) == 1
    assert StatisticsEntry.objects.count() == 0


def test_the_command_says_what_it_corrected(route, capsys):
    enqueue(2)
    StatisticsEntry.objects.all().delete()

    call_command("rebuild_stats", "--dry-run")
    dry = capsys.readouterr().out
    call_command("rebuild_stats")
    wet = capsys.readouterr().out
    call_command("rebuild_stats")

    day = CampaignMessage.objects.first().created_at.date()
    assert dry == f"{day} SMS: status:0 +2\n1 tallies differ.\n"
    assert wet == f"{day} SMS: status:0 +2\n1 tallies were corrected.\n"
    assert capsys.readouterr().out == "0 tallies were corrected.\n"
    assert statuses() == {MessageStatus.QUEUED: 2}


def test_the_command_leaves_days_before_the_first_alone(route, capsys):
    enqueue(2)
    StatisticsEntry.objects.all().delete()

    call_command("rebuild_stats", "--since=2100-01-01")

    assert statuses() == {}


def test_what_was_pruned_stays_counted(route, capsys):
    enqueue(2)
    tomorrow = timezone.now() + DAY
    RetentionMark.objects.create(step="messages", cleared_before=timezone.now())
    CampaignMessage.objects.all().delete()

    call_command("rebuild_stats")

    assert statuses() == {MessageStatus.QUEUED: 2}
    with pytest.raises(CommandError, match=f"Use --since={tomorrow.date()}"):
        call_command("rebuild_stats", "--since=2025-01-01")


def test_the_command_wants_a_day(capsys):
    with pytest.raises(CommandError, match="'June' is not a date such as 2026-01-31"):
        call_command("rebuild_stats", "--since=June")


def recover(now):
    recover_expired_leases(
        routes=RoutingTable(), verdict_wait=HOUR, now=now, rng=Random(0)
    )


class World:
    """Random events in the life of messages."""

    def __init__(self, rng):
        RouteFactory(channel=Channel.EMAIL)
        retry_rule(900, 3600)
        self.rng = rng
        self.now = NOW
        self.flying = []  # claimed, and not recorded so far
        self.steps = [
            *[self.campaign, self.claim, self.claim, self.record, self.record] * 3,
            *[self.receipt] * 8,
            *[self.time_passes, self.sweep, compact_entries] * 2,
            self.stop,
            self.cancel,
            self.policy,
            *[self.intervene] * 3,
        ]

    def step(self):
        self.rng.choice(self.steps)()

    def campaign(self):
        channel = self.rng.choice([Channel.SMS, Channel.SMS, Channel.EMAIL])
        expires_at = self.now + self.rng.choice([HOUR, 30 * DAY])
        enqueue(3, channel=channel, due_at=self.now, expires_at=expires_at)

    def claim(self):
        self.flying += claim(limit=self.rng.randint(1, 9), now=self.now)

    def record(self):
        """Record results; one at a time may be hours late."""
        if not self.flying:
            return
        self.rng.shuffle(self.flying)
        results = [self.result(self.flying.pop()) for _ in self.flying[:3]]
        fallbacks = write(*results, now=self.now)
        if self.rng.random() < 0.1:
            write(*results, now=self.now)
        self.flying += fallbacks

    def result(self, claimed):
        at = self.now - timedelta(seconds=self.rng.randint(0, 60))
        cost = self.rng.choice([None, Money(Decimal("0.0079"), "USD")])
        number = claimed.message_id
        to_vonage = Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {})
        return self.rng.choice(
            [
                *[accepted(claimed, external_id=f"SM{number}", at=at, cost=cost)] * 4,
                failed(claimed, ProviderError(), Retry(self.now, True), at=at),
                failed(claimed, ProviderError(), FallBack(to_vonage), at=at),
                failed(claimed, RecipientError(), GiveUp(), at=at),
                failed(claimed, OutcomeUnknown(), AwaitVerdict(self.now + HOUR), at=at),
            ]
        )

    def receipt(self):
        tried = CampaignMessage.objects.exclude(attempt_count=0).order_by("id")
        if not tried:
            return
        message = self.rng.choice(tried)
        capped = {"error_class": ErrorClass.THROTTLED, "cap_zone": "Europe/Berlin"}
        off = {"error_class": ErrorClass.HANDSET_OFF}
        receive(
            message.pk,
            self.rng.choice(VERDICTS),
            attempt=self.rng.randint(1, message.attempt_count),
            at=self.now,
            provider=message.provider,
            **self.rng.choice([{}, {}, {"reference": ""}, capped, off]),
            **self.rng.choice([{}, {"cost": Decimal("0.01"), "currency": "EUR"}]),
        )

    def time_passes(self):
        self.now += self.rng.choice([timedelta(minutes=1), HOUR, 9 * HOUR])

    def sweep(self):
        recover(self.now)
        recover_attempts(since=self.now - DAY, until=self.now - LEASE)
        close_campaigns(now=self.now)

    def stop(self):
        message = CampaignMessage.objects.queued().first()
        if message:
            Suppression.objects.get_or_create(
                address=message.recipient, reason=SuppressionReason.OPTED_OUT
            )

    def cancel(self):
        oldest = Campaign.objects.running().order_by("id").values("pk")[:1]
        cancel_campaigns(Campaign.objects.filter(pk__in=oldest), now=self.now)

    def intervene(self):
        """An operator cancels or retries a message."""
        message = self.rng.choice(CampaignMessage.objects.order_by("id") or [None])
        if message is not None:
            with suppress(InterventionRefused):
                act = self.rng.choice([cancel_message, retry_message, retry_message])
                act(message, now=self.now)

    def policy(self):
        """The route's policy for unknown outcomes changes."""
        ChannelRoutingConfig.objects.update(
            unknown_outcome_policy=self.rng.choice(list(UnknownOutcomePolicy))
        )
