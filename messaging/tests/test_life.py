"""The life of messages and attempts: any steps in any order, over the real services.

Workers claim, call, record, stop for a while and die; receipts come early, late, twice
and out of order; time passes; people cancel, pause and say STOP. What the providers in
memory took is the judge; what docs/reliability.md says must hold does so at each step.

A bounded run that is the same each time; `LIFE_EXAMPLES=2000` makes a long random one.
"""

from __future__ import annotations

import time
from datetime import timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from messaging.campaigns import cancel_campaigns, pause_campaigns, resume_campaigns
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, CampaignMessage, Suppression
from messaging.queue.completion import close_campaigns
from messaging.queue.receipts import record_receipts
from messaging.queue.recover import recover_expired_leases
from messaging.queue.window import calls_of
from messaging.queue.worker import Limits, Processor
from messaging.rules.quiet_hours import QuietHours
from messaging.tests.conftest import MEMORY_PROVIDERS
from messaging.tests.scenario import LEASE, MINUTE, NOW, run_machine, unfinished
from messaging.vocabulary import CampaignStatus, SuppressionReason, WorkerKind
from routing.decision.planner import RoutingTable
from routing.dispatch import SendRequest, send
from routing.factories import RouteFactory, retry_rule
from routing.models import (
    ChannelRoutingConfig,
    DeliveryReceipt,
    MessageDeliveryAttempt,
    ProviderHealth,
)
from routing.providers.base import (
    OutcomeUnknown,
    ProviderError,
    Receipt,
    RecipientError,
)
from routing.providers.registry import registry
from routing.reference import AttemptReference
from routing.vocabulary import ErrorClass, MessageStatus

pytestmark = [pytest.mark.django_db, pytest.mark.long]
WORKERS = (0, 1)
VERDICT_WAIT = timedelta(hours=1)
PROVIDERS = tuple(MEMORY_PROVIDERS)
# Soon after it begins there; the messages go to California.
BREAK, CALIFORNIA = QuietHours.parse("02:05-02:25"), ZoneInfo("America/Los_Angeles")
QUEUED, SENDING, SENT, DELIVERED, FAILED, BOUNCED, CANCELLED, SUPPRESSED, EXPIRED = (
    MessageStatus
)
# What a final status may become: only proof of delivery overrides it. What a handset
# did not get because it was off may be sent again.
AFTER = {
    SENT: {SENT, DELIVERED, FAILED, BOUNCED, QUEUED, CANCELLED},
    DELIVERED: {DELIVERED},
    FAILED: {FAILED, SENT, DELIVERED, BOUNCED, QUEUED},
    BOUNCED: {BOUNCED, DELIVERED},
    CANCELLED: {CANCELLED, DELIVERED},
    SUPPRESSED: {SUPPRESSED, DELIVERED},
}
FAILURES = {
    "taken": None,
    "refused": ProviderError("down"),
    "wrong number": RecipientError("no such number"),
    "lost before": OutcomeUnknown("reset"),
    "lost after": OutcomeUnknown("no answer"),
}


class Life(RuleBasedStateMachine):
    """Two workers, two providers, a campaign and what happens to it."""

    @initialize(count=st.integers(1, 3))
    def begin(self, count):
        self.now = NOW
        self.events = set()  # of receipts
        self.off = set()  # references that a handset was off for
        self.arrived = set()  # references that were delivered
        self.last_status = {}
        self.processors = {number: self.processor() for number in WORKERS}
        self.claimed = {number: [] for number in WORKERS}  # calls not made yet
        self.returned = {number: [] for number in WORKERS}  # not recorded yet
        RouteFactory(initial_retry_delay_seconds=60, max_retries=2)
        retry_rule(900, 3600)
        self.campaign = CampaignFactory(quiet_from=BREAK.start, quiet_until=BREAK.end)
        for _ in range(count):
            self.enqueue()

    def processor(self):
        return Processor(
            kind=WorkerKind.COMMAND,
            limits=Limits(lease=LEASE, verdict_wait=VERDICT_WAIT, window=1),
            clock=lambda: self.now,
            rng=Random(0),
        )

    def teardown(self):
        try:
            if hasattr(self, "campaign"):
                self.come_to_rest()
        finally:
            forget_everything()

    # What happens.

    @precondition(lambda self: has_room())
    @rule()
    def enqueue(self):
        MessageFactory(campaign=self.campaign, due_at=self.now)

    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker):
        claim = self.processors[worker]._claimer.claim(limit=3, now=self.now)
        self.start(worker, claim.claimed)

    @rule(worker=st.sampled_from(WORKERS), ending=st.sampled_from(sorted(FAILURES)))
    def call(self, worker, ending):
        """Send what was claimed before, or else what can be claimed now."""
        if not self.claimed[worker]:
            self.claim(worker)
        while self.claimed[worker]:
            self.send(worker, ending)

    @precondition(lambda self: any(self.returned.values()))
    @rule(worker=st.sampled_from(WORKERS))
    def record(self, worker):
        processor = self.processors[worker]
        results = processor.results.judge(self.returned[worker])
        self.returned[worker] = []
        claims = [each.claimed for each in results]
        held = {each.message_id for each in claims if is_held(each, processor._owner)}
        stale = {
            each.claimed.message_id: row(each.claimed.message_id)
            for each in results
            if each.claimed.message_id not in held and each.send_result.failure
        }
        self.start(worker, processor.results.write(results) if results else [])
        for pk, before in stale.items():
            assert row(pk) == before, "who has lost the lease changes nothing"

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker):
        self.claimed[worker], self.returned[worker] = [], []
        self.processors[worker] = self.processor()

    @rule()
    def let_leases_run_out(self):
        """A frozen worker loses its leases."""
        self.now += LEASE
        self.sweep()

    @rule(worker=st.sampled_from(WORKERS), ending=st.sampled_from(sorted(FAILURES)))
    def freeze(self, worker, ending):
        """Stop a worker after its calls; it continues after its leases ran out."""
        self.call(worker, ending)
        self.let_leases_run_out()
        self.record(worker)

    @rule()
    def sweep(self):
        recover_expired_leases(
            routes=RoutingTable(),
            verdict_wait=VERDICT_WAIT,
            now=self.now,
            rng=Random(0),
        )
        close_campaigns(now=self.now)

    @rule(worker=st.sampled_from(WORKERS), is_told=st.booleans())
    def look_up(self, worker, is_told):
        for name in PROVIDERS:
            registry.get(name).cannot_tell = not is_told
        processor = self.processors[worker]
        processor._look_ups.begin(now=self.now)
        until = time.monotonic() + 5
        while len(processor._look_ups._under_way) > processor._look_ups._done.qsize():
            assert time.monotonic() < until
        self.start(worker, self.resumed(processor))

    @rule(seconds=st.sampled_from([1, 60, 700, 3700]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: taken())
    @rule(data=st.data(), status=st.sampled_from([SENT, DELIVERED, BOUNCED]))
    def receive(self, data, status):
        """A provider reports on a message: early, late, twice, in any order."""
        provider, reference = data.draw(st.sampled_from(taken()))
        if status != SENT and reference in self.off:
            return
        if status == DELIVERED:
            self.arrived.add(reference)
        event = f"{reference}:{status.label}"
        self.hear(provider, Receipt(event, reference, "", status, status.label))

    @precondition(lambda self: self.may_be_off())
    @rule(data=st.data())
    def find_handset_off(self, data):
        """The provider reports that the handset was off, perhaps again."""
        provider, reference = data.draw(st.sampled_from(self.may_be_off()))
        self.off.add(reference)
        off = Receipt(
            f"{reference}:off",
            reference,
            "",
            BOUNCED,
            "off",
            error_class=ErrorClass.HANDSET_OFF,
        )
        self.hear(provider, off)

    def may_be_off(self):
        return [each for each in taken() if each[1] not in self.arrived]

    def hear(self, provider, receipt):
        record_receipts(
            provider_name=provider, receipts=[receipt], raw="", now=self.now
        )
        self.events.add((provider, receipt.event_id))

    @rule(what=st.sampled_from(["go on", "go on", "pause", "cancel", "say STOP"]))
    def intervene(self, what):
        """An operator acts, or a recipient opts out."""
        campaigns = Campaign.objects.all()
        if what == "go on":
            resume_campaigns(campaigns)
        elif what == "pause":
            pause_campaigns(campaigns)
        elif what == "cancel":
            cancel_campaigns(campaigns, now=self.now)
        else:
            Suppression.objects.get_or_create(
                address=CampaignMessage.objects.earliest("pk").recipient,
                defaults={"reason": SuppressionReason.OPTED_OUT},
            )

    # What must hold.

    @invariant()
    def no_handset_gets_a_message_twice(self):
        messages = [
            AttemptReference.parse(ref).message_id
            for _, ref in taken()
            if ref not in self.off
        ]
        assert len(messages) == len(set(messages))

    @invariant()
    def what_is_open_has_a_next_time(self):
        for message in unfinished():
            is_queued = message.status == QUEUED
            assert message.due_at if is_queued else message.lease_expires_at

    @invariant()
    def the_intent_was_on_the_row_before_the_call(self):
        made = dict(CampaignMessage.objects.values_list("pk", "attempt_count"))
        for _, reference in taken():
            attempt = AttemptReference.parse(reference)
            assert made[attempt.message_id] >= attempt.attempt_number

    @invariant()
    def a_status_never_goes_back(self):
        for pk, status in CampaignMessage.objects.values_list("pk", "status"):
            before = self.last_status.get(pk)
            assert status in AFTER.get(before, set(MessageStatus)), (before, status)
            self.last_status[pk] = MessageStatus(status)

    @invariant()
    def no_more_rounds_than_the_route_grants(self):
        assert not CampaignMessage.objects.filter(retry_count__gt=2).exists()

    @invariant()
    def each_receipt_counts_once(self):
        stored = DeliveryReceipt.objects.exclude(provider_status__contains="looked up")
        assert stored.count() == len(self.events)

    # How it goes on.

    def start(self, worker, claimed):
        """Check what a worker will send next: none of it should be held back."""
        stopped = set(Suppression.objects.values_list("address", flat=True))
        for each in claimed:
            assert each.content.recipient not in stopped, "nothing leaves after STOP"
            assert not BREAK.cover(self.now.astimezone(CALIFORNIA).time())
        self.claimed[worker] += calls_of(claimed)

    def send(self, worker, ending):
        call = self.claimed[worker].pop(0)
        provider = registry.get(call[0].decision.provider)
        if failure := FAILURES[ending]:
            provider.fail_with(failure, is_taken=ending == "lost after")
        done = send(
            provider_name=provider.name,
            requests=[
                SendRequest(each.content, segments=1, estimate=None) for each in call
            ],
            not_after=call[0].lease_expires_at,
            clock=lambda: self.now,
        )
        provider._failures.clear()  # of a call that was not made
        self.returned[worker] += zip(call, done, strict=True)

    def resumed(self, processor):
        certain = processor._look_ups.finish(now=self.now)
        results = processor.results.decide(certain)
        return processor.results.resume(results) if results else []

    def come_to_rest(self):
        """In the end nothing stays open, and nothing sent is reported as not sent."""
        self.intervene("go on")
        for _ in range(30):
            if not unfinished().exists():
                break
            self.now += 10 * MINUTE
            for worker in WORKERS:
                self.claim(worker)
                while self.claimed[worker] or self.returned[worker]:
                    while self.claimed[worker]:
                        self.send(worker, "taken")
                    self.record(worker)
                self.look_up(worker, is_told=True)
            self.sweep()
        assert not unfinished().exists()
        self.no_handset_gets_a_message_twice()
        for _, reference in taken():
            if reference in self.off:
                continue
            message = CampaignMessage.objects.get(
                pk=AttemptReference.parse(reference).message_id
            )
            known = message.status in {SENT, DELIVERED, BOUNCED}
            assert known or message.is_outcome_unknown, "what was taken is not denied"


def has_room():
    """Whether the campaign is open and has fewer than four messages."""
    is_open = Campaign.objects.filter(
        status__in=[CampaignStatus.RUNNING, CampaignStatus.PAUSED]
    ).exists()
    return is_open and CampaignMessage.objects.count() < 4


def taken():
    """The accepted messages: provider and our reference."""
    return [
        (name, message.reference)
        for name in PROVIDERS
        for message in registry.get(name).outbox
    ]


def row(pk):
    return CampaignMessage.objects.filter(pk=pk).values().get()


def is_held(claimed, owner):
    message = CampaignMessage.objects.get(pk=claimed.message_id)
    return (message.lease_owner, message.attempt_count) == (
        owner,
        claimed.attempt_number,
    )


def forget_everything():
    for model in (
        DeliveryReceipt,
        MessageDeliveryAttempt,
        CampaignMessage,
        Campaign,
        Suppression,
        ChannelRoutingConfig,
        ProviderHealth,
    ):
        model.objects.all().delete()
    for name in PROVIDERS:
        registry.get(name).close()


def test_whatever_happens_no_message_is_lost_doubled_or_denied(settings_of_life):
    run_machine(Life, examples=40)


@pytest.fixture
def settings_of_life(settings):
    """In-memory providers with look-ups, and several messages per call."""
    options = {"SETTLING_SECONDS": 60, "TIMEOUT": 30, "MAX_BATCH": 3}
    settings.MESSAGE_PROVIDERS = {
        name: definition | {"OPTIONS": options}
        for name, definition in MEMORY_PROVIDERS.items()
    }
