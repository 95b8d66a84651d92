"""The queue processor over the real wires, against simulated providers."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from messaging.factories import CampaignFactory
from messaging.models import (
    Campaign,
    CampaignMessage,
    Suppression,
    WorkerHeartbeat,
)
from messaging.queue.worker import Limits, Processor
from messaging.tests.scenario import NOW, claim, messages
from messaging.vocabulary import CampaignStatus, SuppressionReason, WorkerKind
from routing.dispatch import SendResult
from routing.factories import RateFactory, RouteFactory, retry_rule
from routing.models import (
    MessageDeliveryAttempt,
    ProviderHealth,
    ProviderThrottle,
)
from routing.providers.base import ProviderError
from routing.rules.breaker import Breaker, BreakerState, to_row, with_success
from routing.simulators.handset import read_handset_log
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def sms_route(simulator):
    """Twilio first, Vonage to fall back to, and retries within a second."""
    return RouteFactory(initial_retry_delay_seconds=0, max_retry_delay_seconds=1)


@pytest.fixture
def arrivals(simulator_process):
    """What reached the handsets so far, by recipient."""

    def read():
        entries = read_handset_log(simulator_process.handset_log)
        return [e.message.recipient for e in entries if e.event == "accepted"]

    return read


def drain(*, idle=0.0, **limits):
    """Run a worker until it was idle for `idle` seconds."""
    limits = {"lease": timedelta(seconds=90)} | limits
    processor = Processor(
        kind=WorkerKind.COMMAND,
        limits=Limits(**limits),
        idle_limit=timedelta(seconds=idle),
    )
    return processor.run()


def ask(settings, provider, *, settling_seconds):
    """Let the provider be asked about a message after this many seconds; 0: never."""
    definition = settings.MESSAGE_PROVIDERS[provider]
    options = definition["OPTIONS"] | {"SETTLING_SECONDS": settling_seconds}
    settings.MESSAGE_PROVIDERS = settings.MESSAGE_PROVIDERS | {
        provider: definition | {"OPTIONS": options}
    }


def statuses():
    return set(CampaignMessage.objects.values_list("status", flat=True))


def test_the_cost_of_an_attempt_is_by_the_providers_rate_deck(sms_route):
    RateFactory(dial_prefix="1415", country="US", price=Decimal("0.0501"))
    messages(1, recipient="+14155552671", body="a" * 200, segments=2)

    drain()

    attempt = MessageDeliveryAttempt.objects.get()
    assert (attempt.cost, attempt.currency) == (Decimal("0.1002"), "USD")


def test_every_due_message_reaches_its_handset_once(sms_route, arrivals):
    sent = messages(120)

    report = drain()

    assert report.accepted == report.claimed == 120
    assert sorted(arrivals()) == sorted(message.recipient for message in sent)
    assert statuses() == {MessageStatus.SENT}
    assert Campaign.objects.get().status == CampaignStatus.COMPLETED


@pytest.mark.parametrize(
    ("channel", "primary", "fallback"),
    [
        (Channel.MMS, "TwilioMMS", "VonageMMS"),
        (Channel.EMAIL, "SendGridEmail", "SMTPEmail"),
    ],
)
def test_every_channel_goes_out_by_either_provider(
    simulator, arrivals, channel, primary, fallback
):
    RouteFactory(channel=channel, primary_provider=primary, fallback_provider=fallback)
    campaign = CampaignFactory(
        channel=channel,
        subject="Hi" if channel == Channel.EMAIL else "",
        media_urls=["https://example.com/a.jpg"] if channel == Channel.MMS else [],
    )
    recipients = ["a@example.com", "b@example.com"]
    if channel == Channel.MMS:
        recipients = ["+14155550111", "+14155550112"]
    simulator.set_fault(primary, "unavailable", count=1)
    for recipient in recipients:
        messages(1, campaign=campaign, recipient=recipient)

    drain(batch_size=1)

    assert sorted(arrivals()) == recipients
    providers = MessageDeliveryAttempt.objects.filter(
        outcome=AttemptOutcome.ACCEPTED
    ).values_list("provider", flat=True)
    assert sorted(providers) == sorted([primary, fallback])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "refuse"}, FallbackReason.PROVIDER_UNAVAILABLE),
        ({"kind": "unavailable"}, FallbackReason.PROVIDER_UNAVAILABLE),
        ({"kind": "throttle"}, FallbackReason.RATE_LIMIT_EXCEEDED),
        (
            {"kind": "error", "code": "20003", "status": 401},
            FallbackReason.PRIMARY_FAILED,
        ),
    ],
)
def test_a_message_falls_back_at_once_and_says_why(
    sms_route, simulator, arrivals, fault, reason
):
    (message,) = messages(1)
    simulator.set_fault("TwilioSMS", **fault)

    drain()

    assert arrivals() == [message.recipient]
    first, second = MessageDeliveryAttempt.objects.order_by("attempt_number")
    assert (first.provider, first.outcome) == ("TwilioSMS", AttemptOutcome.REJECTED)
    assert (second.provider, second.fallback_reason) == ("VonageSMS", reason)


def test_a_message_is_tried_again_when_all_providers_failed(
    sms_route, simulator, arrivals
):
    (message,) = messages(1)
    simulator.set_fault("TwilioSMS", "unavailable", count=1)
    simulator.set_fault("VonageSMS", "unavailable", count=1)

    report = drain(idle=1.0)

    assert report.retries == 1
    assert arrivals() == [message.recipient]
    message.refresh_from_db()
    assert (message.attempt_count, message.retry_count) == (3, 1)


def test_a_message_fails_after_its_last_round_if_others_were_sent(
    sms_route, simulator, arrivals
):
    sms_route.max_retries = 1
    sms_route.save()
    messages(1)
    known = with_success(Breaker(), timezone.now())
    ProviderHealth.objects.create(
        provider="VonageSMS", channel=Channel.SMS, **to_row(known)
    )
    simulator.set_fault("TwilioSMS", "unavailable")
    simulator.set_fault("VonageSMS", "unavailable")

    drain(idle=1.0)

    assert statuses() == {MessageStatus.FAILED}
    assert MessageDeliveryAttempt.objects.count() == 4
    assert arrivals() == []


def test_a_wrong_number_is_neither_retried_nor_sent_elsewhere(
    sms_route, simulator, arrivals
):
    messages(1)
    simulator.set_fault("TwilioSMS", "error", code="21211", status=400)

    drain()

    (attempt,) = MessageDeliveryAttempt.objects.all()
    assert attempt.error_class == ErrorClass.RECIPIENT
    assert statuses() == {MessageStatus.FAILED}


@pytest.mark.parametrize(
    ("fault", "does_open"),
    [
        ({"code": "", "status": 404}, True),  # a wrong path in BASE_URL
        ({"code": "", "status": 405}, True),
        ({"code": "", "status": 410}, True),
        ({"code": "21659"}, True),  # our sender: here, or as such
        ({"code": "21660"}, True),  # not of our account
        ({"code": "29999"}, True),  # a code that no table has
        ({"code": "21612"}, False),  # our sender and one destination
    ],
    ids=lambda value: (
        str(value.get("code") or value["status"]) if isinstance(value, dict) else ""
    ),
)
def test_what_is_our_fault_costs_no_message_and_opens_the_breaker(
    sms_route, simulator, arrivals, fault, does_open
):
    sent = messages(6)
    simulator.set_fault("TwilioSMS", "error", **{"status": 400} | fault)

    drain(batch_size=1)

    assert sorted(arrivals()) == sorted(message.recipient for message in sent)
    health = ProviderHealth.objects.filter(provider="TwilioSMS")
    assert [row.state for row in health] == [BreakerState.OPEN] * does_open


def test_a_recipients_limit_puts_off_one_message_and_slows_nobody_down(
    sms_route, simulator
):
    sms_route.enable_fallback = False
    sms_route.save()
    retry_rule(300, error_class=ErrorClass.NOT_NOW)
    (message,) = messages(1)
    simulator.set_fault("TwilioSMS", "error", code="14107", status=429)

    drain(idle=1.0)

    message.refresh_from_db()
    assert (message.status, message.retry_count) == (MessageStatus.QUEUED, 0)
    assert message.due_at - timezone.now() > timedelta(seconds=290)
    assert MessageDeliveryAttempt.objects.count() == 1
    assert not ProviderThrottle.objects.exists()
    assert not ProviderHealth.objects.exists()


@pytest.mark.parametrize(
    "media",
    [
        ["https://cdn.example.com/a.jpg", "https://cdn.example.com/b.jpg"],
        ["https://cdn.example.com/download?id=5"],
    ],
    ids=["two", "unknown type"],
)
def test_what_one_provider_cannot_carry_goes_by_the_next(simulator, arrivals, media):
    RouteFactory(
        channel=Channel.MMS,
        primary_provider="VonageMMS",
        fallback_provider="TwilioMMS",
    )
    campaign = CampaignFactory(channel=Channel.MMS, media_urls=media)
    messages(1, campaign=campaign, recipient="+14155550111")

    drain()

    assert arrivals() == ["+14155550111"]
    (attempt,) = MessageDeliveryAttempt.objects.all()
    assert attempt.provider == "TwilioMMS"
    assert "Vonage" in attempt.decision["candidates"][0]["verdict"]


def test_what_no_provider_can_carry_fails_at_once_and_says_why(simulator, arrivals):
    RouteFactory(
        channel=Channel.MMS,
        primary_provider="VonageMMS",
        fallback_provider="TwilioMMS",
    )
    campaign = CampaignFactory(channel=Channel.MMS, media_urls=[])
    (message,) = messages(1, campaign=campaign, recipient="+14155550111")

    drain()

    message.refresh_from_db()
    assert message.status == MessageStatus.FAILED
    assert "exactly one media URL" in message.status_reason
    assert "An MMS needs a media URL" in message.status_reason
    assert not MessageDeliveryAttempt.objects.exists()
    assert Campaign.objects.get().status == CampaignStatus.COMPLETED


def test_a_provider_that_refused_a_message_as_unsuitable_is_not_asked_again(
    sms_route, simulator, arrivals
):
    messages(1)
    simulator.set_fault("TwilioSMS", "error", code="21612", status=400)
    simulator.set_fault("VonageSMS", "unavailable", count=1)

    drain(idle=1.5)

    providers = MessageDeliveryAttempt.objects.order_by("attempt_number")
    assert list(providers.values_list("provider", flat=True)) == [
        "TwilioSMS",
        "VonageSMS",
        "VonageSMS",
    ]
    assert len(arrivals()) == 1


def email_route(count):
    """SMTP first, SendGrid to fall back to, and this many e-mails."""
    RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="SMTPEmail",
        fallback_provider="SendGridEmail",
        initial_retry_delay_seconds=0,
    )
    campaign = CampaignFactory(channel=Channel.EMAIL, subject="Hi")
    for number in range(count):
        messages(1, campaign=campaign, recipient=f"p{number}@good.example")


def test_a_block_list_with_our_address_is_no_recipients_fault(simulator, arrivals):
    email_route(6)
    simulator.set_fault(
        "SMTPEmail",
        "error",
        stage="RCPT",
        code="550",
        message="5.7.1 Service unavailable; client [192.0.2.1] blocked using a list",
    )

    drain(batch_size=1)

    assert len(arrivals()) == 6
    assert ProviderHealth.objects.get().state == BreakerState.OPEN


def test_mistyped_domains_open_no_breaker(simulator):
    email_route(6)
    simulator.set_fault(
        "SMTPEmail", "error", stage="RCPT", code="450", message="4.1.2 Domain not found"
    )

    drain(batch_size=1)

    assert statuses() == {MessageStatus.QUEUED}
    assert not ProviderHealth.objects.exists()
    assert not ProviderThrottle.objects.exists()


@pytest.mark.parametrize(
    ("reply", "is_suppressed"),
    [
        ("550 5.1.1 User unknown", True),
        ("551 Not local", True),
        ("556 Takes no mail", True),
        ("550 5.2.1 Disabled", False),
        ("550 No", False),
    ],
)
def test_only_a_mailbox_that_is_not_there_is_suppressed(
    simulator, reply, is_suppressed
):
    email_route(1)
    code, _, text = reply.partition(" ")
    simulator.set_fault("SMTPEmail", "error", stage="RCPT", code=code, message=text)

    drain()

    assert statuses() == {MessageStatus.FAILED}
    found = Suppression.objects.values_list("address", "reason", "source")
    hard_bounce = ("p0@good.example", SuppressionReason.HARD_BOUNCE, "SMTPEmail")
    assert list(found) == [hard_bounce] * is_suppressed


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_dropped_connection_is_never_followed_by_a_second_send(
    sms_route, simulator, arrivals, is_taken, settings
):
    ask(settings, "TwilioSMS", settling_seconds=0)
    (message,) = messages(1)
    simulator.set_fault("TwilioSMS", "drop", accepted=is_taken, count=1)

    drain(idle=0.3)

    assert arrivals() == ([message.recipient] if is_taken else [])
    message.refresh_from_db()
    assert message.status == MessageStatus.SENDING
    assert message.is_outcome_unknown
    assert message.lease_expires_at > timezone.now() + timedelta(minutes=50)


def test_a_slow_message_keeps_no_other_waiting(sms_route, simulator, arrivals):
    messages(40)
    simulator.set_fault("TwilioSMS", "slow", delay=1.0, count=1)
    started = timezone.now()

    drain(batch_size=5, window=10)

    waited = [
        attempt.attempted_at - started
        for attempt in MessageDeliveryAttempt.objects.all()
    ]
    assert len(arrivals()) == 40
    assert max(waited) < timedelta(seconds=1)


def test_a_worker_takes_no_more_than_it_may(sms_route, arrivals):
    messages(30)

    report = drain(max_messages=12, batch_size=5)

    assert report.claimed == 12
    assert len(arrivals()) == 12


def test_a_worker_that_is_told_to_stop_finishes_what_is_in_flight(
    sms_route, simulator, arrivals
):
    messages(30)
    simulator.set_fault("TwilioSMS", "slow", delay=0.3)
    processor = Processor(
        kind=WorkerKind.COMMAND, limits=Limits(batch_size=5, window=5)
    )

    def stop_when_some_are_in_flight():
        while processor.report.claimed < 5:
            time.sleep(0.01)
        processor.stop()

    threading.Thread(target=stop_when_some_are_in_flight, daemon=True).start()
    report = processor.run()

    assert 5 <= report.accepted < 30
    assert len(arrivals()) == report.accepted == report.claimed
    assert not CampaignMessage.objects.filter(status=MessageStatus.SENDING).exists()


@pytest.mark.parametrize(("failure", "room"), [(None, 2), (ProviderError(), 1)])
def test_only_what_may_fall_back_keeps_its_place_until_it_is_recorded(
    route, failure, room
):
    messages(1)
    worker = Processor(kind=WorkerKind.COMMAND, limits=Limits(batch_size=2, window=2))
    (claimed,) = claim(owner=worker._owner)
    done = SendResult("TwilioSMS", NOW, response_time_ms=12, failure=failure)

    worker._unrecorded = [(claimed, done)]

    assert worker._allowance() == room


def test_a_worker_recovers_what_a_dead_one_left_behind(sms_route):
    (message,) = messages(1)
    CampaignMessage.objects.update(
        status=MessageStatus.SENDING,
        lease_owner=1,
        lease_expires_at=timezone.now() - timedelta(seconds=1),
        attempt_count=1,
        provider="TwilioSMS",
    )

    report = drain(idle=0.2)

    message.refresh_from_db()
    assert report.recovered == 1
    assert message.is_outcome_unknown


def test_a_worker_shows_that_it_lives_and_takes_the_sign_down_when_it_leaves(
    sms_route, simulator
):
    messages(1)
    simulator.set_fault("TwilioSMS", "slow", delay=0.5)
    seen = []
    processor = Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0))
    processor._clock = lambda: (
        seen.append(WorkerHeartbeat.objects.count()) or (timezone.now())
    )

    processor.run()

    assert max(seen) == 1
    assert not WorkerHeartbeat.objects.exists()


def test_a_worker_stays_while_a_throttle_holds_due_messages_back(sms_route, arrivals):
    sms_route.enable_fallback = False
    sms_route.save()
    ProviderThrottle.objects.create(provider="TwilioSMS", rate_per_second=20, burst=2)
    messages(10)

    report = drain()

    assert report.accepted == len(arrivals()) == 10
