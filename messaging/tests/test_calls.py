"""Messages that share a call: which ones, what is on record, and their results."""

from __future__ import annotations

import threading
from datetime import timedelta
from random import Random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue.claim import Claimer
from messaging.queue.receipts import record_receipts
from messaging.queue.recover import recover_expired_leases
from messaging.queue.results import within_room
from messaging.queue.window import Window, calls_of
from messaging.tests.scenario import (
    LEASE,
    NOW,
    accepted,
    claim,
    failed,
    messages,
    write,
)
from messaging.vocabulary import SuppressionReason
from routing.decision.planner import Planner, RoutingTable
from routing.factories import RouteFactory
from routing.models import (
    MessageDeliveryAttempt,
    ProviderHealth,
    ProviderThrottle,
)
from routing.providers.base import (
    Acceptance,
    BatchRejected,
    OutcomeUnknown,
    Provider,
    ProviderError,
    Receipt,
)
from routing.providers.registry import registry
from routing.reference import reference_for
from routing.rules.decide import Decision, FallBack, Retry
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus, RoutingStrategy

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign():
    return CampaignFactory(channel=Channel.EMAIL, subject="Hi")


@pytest.fixture
def memory(settings, campaign):
    """SendGrid's place, in memory: a call takes three. SMTP's takes one."""
    backend = "routing.providers.memory.MemoryEmail"
    settings.MESSAGE_PROVIDERS = {
        "SendGridEmail": {"BACKEND": backend, "OPTIONS": {"MAX_BATCH": 3}},
        "SMTPEmail": {"BACKEND": backend},
    }
    return RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="SendGridEmail",
        fallback_provider="SMTPEmail",
        initial_retry_delay_seconds=0,
    )


def emails(campaign, count, **fields):
    """Messages to addresses that sort in creation order."""
    return [
        each
        for n in range(count)
        for each in messages(
            1, campaign=campaign, **{"recipient": f"p{n:03}@example.com"} | fields
        )
    ]


def recover(*, now):
    recover_expired_leases(
        routes=RoutingTable(), verdict_wait=LEASE, now=now, rng=Random(0)
    )


def sizes(claimed):
    return sorted(len(call) for call in calls_of(claimed))


def call_ids():
    rows = CampaignMessage.objects.order_by("pk")
    return list(rows.values_list("call_id", flat=True))


# Which messages share a call.


def test_a_call_takes_as_many_as_its_provider_and_the_last_goes_alone(memory, campaign):
    sent = emails(campaign, 7)

    claimed = claim()

    assert sizes(claimed) == [1, 3, 3]
    assert [each.message_id for each in claimed] == [each.pk for each in sent]


def test_who_shares_a_call_is_on_the_rows_before_it_is_made(memory, campaign):
    sent = emails(campaign, 4)

    claim()

    assert call_ids() == [sent[0].pk] * 3 + [None]


def test_two_messages_to_one_recipient_share_no_call(memory, campaign):
    emails(campaign, 1, recipient="ada@example.com")
    messages(1, campaign=campaign, recipient="ADA@example.com", occurrence=1)
    emails(campaign, 1)

    first, second = calls_of(claim())

    assert len({each.content.recipient.lower() for each in first}) == len(first)
    assert len(first) + len(second) == 3


def test_providers_share_no_call(settings, memory, campaign):
    definition = settings.MESSAGE_PROVIDERS["SendGridEmail"]
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {"SMTPEmail": definition}
    memory.routing_strategy = RoutingStrategy.ROUND_ROBIN
    memory.save()
    emails(campaign, 4)

    calls = calls_of(claim())

    providers = [{each.decision.provider for each in call} for call in calls]
    assert sorted(providers, key=str) == [{"SMTPEmail"}, {"SendGridEmail"}]


def test_who_must_not_leave_is_in_no_call(memory, campaign):
    stopped, *_ = emails(campaign, 3)
    Suppression.objects.create(
        address=stopped.recipient, reason=SuppressionReason.OPTED_OUT
    )

    claimed = claim()

    assert sizes(claimed) == [2]
    assert call_ids()[0] is None


def test_a_probe_goes_alone(memory, campaign):
    ProviderHealth.objects.create(
        provider="SendGridEmail", channel=Channel.EMAIL, state=1, open_until=NOW
    )
    emails(campaign, 3)

    probe, *others = claim()

    assert probe.probe_token
    assert probe.call_id is None
    assert {each.decision.provider for each in others} == {"SMTPEmail"}


@pytest.mark.parametrize(
    ("failure", "size"),
    [
        (BatchRejected(goes_alone=True), 1),
        (BatchRejected(goes_alone=False), 3),
        (ProviderError(), 3),
        (OutcomeUnknown(), 1),
    ],
    ids=repr,
)
def test_what_a_call_may_have_failed_on_goes_alone_from_then_on(
    memory, campaign, failure, size
):
    emails(campaign, 3)
    write(
        *[failed(each, failure, Retry(NOW, counts_as_retry=False)) for each in claim()]
    )

    assert max(sizes(claim())) == size


def test_what_a_worker_died_with_goes_alone_from_then_on(memory, campaign):
    memory.unknown_outcome_policy = 1
    memory.save()
    emails(campaign, 3)
    claim()
    later = NOW + 2 * LEASE
    recover(now=later)

    assert sizes(claim(now=later + LEASE)) == [1, 1, 1]


def test_a_fallback_goes_alone(memory, campaign):
    emails(campaign, 2)
    fall_back = FallBack(Decision("SMTPEmail", None, {}))

    fallbacks = write(*[failed(each, ProviderError(), fall_back) for each in claim()])

    assert sizes(fallbacks) == [1, 1]
    assert call_ids() == [None, None]


def test_claiming_messages_that_share_calls_takes_no_more_statements(memory, campaign):
    emails(campaign, 5)
    worker = Claimer(owner=1, lease=LEASE, planner=Planner(rng=Random(0)))
    worker.claim(limit=1, now=NOW)

    with CaptureQueriesContext(connection) as one:
        worker.claim(limit=1, now=NOW)
    with CaptureQueriesContext(connection) as three:
        worker.claim(limit=3, now=NOW)

    assert len(three) == len(one)


def test_a_call_counts_once_where_concurrent_calls_are_limited(memory, campaign):
    ProviderThrottle.objects.create(
        provider="SendGridEmail",
        rate_per_second=1000,
        burst=1000,
        max_concurrency=3,
    )
    emails(campaign, 6)

    assert len(claim(limit=3)) == 3
    second = claim(limit=3)

    by_sendgrid = [e for e in second if e.decision.provider == "SendGridEmail"]
    assert len(by_sendgrid) == 2  # one call is under way


# What is on record.


def test_an_attempt_tells_the_call_that_it_shared(memory, campaign):
    first, *_ = emails(campaign, 4)
    write(*[accepted(each, external_id=str(each.message_id)) for each in claim()])

    attempts = MessageDeliveryAttempt.objects.order_by("message_id")
    shared = [
        (each.decision.get("call_id"), each.decision.get("shared_with"))
        for each in attempts
    ]
    assert shared == [(first.pk, 2)] * 3 + [(None, None)]
    assert call_ids() == [None] * 4


def test_recovery_tells_the_call_of_each_whose_worker_died(memory, campaign):
    first, *_ = emails(campaign, 3)
    claim()

    recover(now=NOW + LEASE)

    attempts = MessageDeliveryAttempt.objects.all()
    assert [each.decision["call_id"] for each in attempts] == [first.pk] * 3
    assert {each.outcome for each in attempts} == {AttemptOutcome.UNKNOWN}
    assert CampaignMessage.objects.outcome_unknown().count() == 3


def test_a_call_that_fails_is_one_fault_of_its_provider(memory, campaign):
    emails(campaign, 3)
    later = Retry(NOW, counts_as_retry=True)

    write(*[failed(each, OutcomeUnknown(), later) for each in claim()])

    health = ProviderHealth.objects.get()
    assert health.breaker.failures_in_a_row == 1


def test_a_receipt_of_one_settles_that_one_only(memory, campaign):
    one, other = emails(campaign, 2)
    claim()
    recover(now=NOW + LEASE)
    receipt = Receipt(
        "e1",
        reference_for(one.pk, 1, provider="SendGridEmail"),
        "",
        MessageStatus.DELIVERED,
        "delivered",
    )

    record_receipts(
        provider_name="SendGridEmail", receipts=[receipt], raw="", now=NOW + LEASE
    )

    one.refresh_from_db()
    other.refresh_from_db()
    assert one.status == MessageStatus.DELIVERED
    assert other.is_outcome_unknown


# The window.


class Hanging(Provider):
    """An adapter that breaks its promise: it ends when the test says so."""

    channel = Channel.EMAIL
    max_batch = 3

    def __init__(self, name, options):
        super().__init__(name, options)
        self.may_end = threading.Event()

    def batch_key(self, message):
        return ""

    def send_batch(self, messages):
        self.may_end.wait()
        return [Acceptance(each.reference) for each in messages]


@pytest.fixture
def hanging(settings, memory):
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {
        "SendGridEmail": {"BACKEND": f"{__name__}.Hanging"}
    }
    provider = registry.get("SendGridEmail")
    yield provider
    provider.may_end.set()


def finished(window):
    while not (done := window.finished(wait=0.01, at_most=10)):
        pass
    return done


def test_a_call_takes_one_place_and_its_messages_are_counted(hanging, campaign):
    emails(campaign, 3)
    window = Window(size=2, clock=lambda: NOW, patience=LEASE)

    window.start(*claim())

    assert (window.in_flight, window.messages, window.room) == (1, 3, 1)


def test_only_so_many_messages_are_under_way_however_few_calls(hanging, campaign):
    emails(campaign, 15)
    window = Window(size=3, clock=lambda: NOW, patience=LEASE)
    calls = [each for call in calls_of(claim()) for each in call]

    window.start(*calls)

    assert (window.in_flight, window.room) == (1, 0)


def test_a_call_that_does_not_end_is_given_up_with_all_its_messages(hanging, campaign):
    emails(campaign, 3)
    window = Window(size=1, clock=lambda: NOW, patience=timedelta(0))
    window.start(*claim())

    given_up = finished(window)
    hanging.may_end.set()
    late = finished(window)

    assert {done.outcome for _, done in given_up} == {AttemptOutcome.UNKNOWN}
    assert {done.outcome for _, done in late} == {AttemptOutcome.ACCEPTED}
    assert len(given_up) == len(late) == 3
    assert (window.in_flight, window.messages) == (0, 0)


def test_fallbacks_of_a_call_that_find_no_room_go_back_to_the_queue(memory, campaign):
    emails(campaign, 3)
    fall_back = FallBack(Decision("SMTPEmail", None, {}))
    results = [failed(each, ProviderError(), fall_back) for each in claim()]

    steps = [each.step for each in within_room(results, room=1, now=NOW)]

    assert steps.count(fall_back) == 1
    assert steps.count(Retry(NOW, counts_as_retry=False)) == 2


def test_a_fallback_of_a_message_that_went_alone_always_has_room(memory, campaign):
    emails(campaign, 1)
    fall_back = FallBack(Decision("SMTPEmail", None, {}))
    results = [failed(each, ProviderError(), fall_back) for each in claim()]

    assert within_room(results, room=0, now=NOW) == results
