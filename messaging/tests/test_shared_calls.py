"""The results of messages that share a call, with the simulated SendGrid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.queue.worker import Limits, Processor
from messaging.tests.scenario import LEASE, messages
from messaging.vocabulary import WorkerKind
from routing.factories import RouteFactory
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.simulators.process import read_handset_log
from routing.vocabulary import Channel, MessageStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign():
    return CampaignFactory(channel=Channel.EMAIL, subject="Hi")


def emails(campaign, count):
    """Messages to addresses that sort in creation order."""
    return [
        each
        for n in range(count)
        for each in messages(1, campaign=campaign, recipient=f"p{n:03}@example.com")
    ]


@pytest.fixture
def sendgrid(simulator, campaign):
    """SendGrid simulated, and SMTP to fall back to."""
    return RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="SendGridEmail",
        fallback_provider="SMTPEmail",
        initial_retry_delay_seconds=0,
        max_retries=1,
    )


@pytest.fixture
def taken(simulator_process):
    """The recipients that got something, by provider."""

    def read():
        entries = read_handset_log(simulator_process.handset_log)
        return sorted(
            (each.message.provider, each.message.recipient)
            for each in entries
            if each.event == "accepted"
        )

    return read


def drain(*, idle=0.0, **limits):
    return Processor(
        kind=WorkerKind.COMMAND,
        limits=Limits(**{"lease": LEASE} | limits),
        idle_limit=timedelta(seconds=idle),
    ).run()


def requests_of(simulator, provider="SendGridEmail"):
    return simulator.state()["providers"].get(provider, {}).get("requests", 0)


def by(provider, sent):
    return sorted((provider, each.recipient) for each in sent)


def statuses():
    return set(CampaignMessage.objects.values_list("status", flat=True))


def test_many_go_out_in_one_call_and_each_has_an_id_of_its_own(
    sendgrid, campaign, simulator, taken
):
    sent = emails(campaign, 20)

    report = drain()

    assert requests_of(simulator) == 1
    assert report.accepted == 20
    assert taken() == by("SendGridEmail", sent)
    ids = MessageDeliveryAttempt.objects.values_list("external_message_id", flat=True)
    assert len(set(ids)) == 20


def test_one_that_is_refused_fails_alone_and_the_others_go_at_once(
    sendgrid, campaign, simulator, taken
):
    *sent, refused = emails(campaign, 4)
    CampaignMessage.objects.filter(pk=refused.pk).update(recipient="nobody@localhost")

    report = drain()

    assert (report.failed, report.accepted) == (1, 3)
    assert taken() == by("SendGridEmail", sent)
    assert requests_of(simulator) == 2
    refused.refresh_from_db()
    assert refused.status == MessageStatus.FAILED
    assert "does not contain a valid address" in refused.status_reason.lower()
    assert not CampaignMessage.objects.filter(retry_count__gt=0).exists()


def test_when_nobody_is_named_each_goes_alone_and_only_the_bad_one_fails(
    sendgrid, campaign, simulator, taken
):
    sent = emails(campaign, 3)
    simulator.set_fault("SendGridEmail", "error", code="400:content", count=1)

    report = drain()

    assert report.accepted == 3
    assert requests_of(simulator) == 1 + 3
    assert taken() == by("SendGridEmail", sent)
    assert statuses() == {MessageStatus.SENT}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "unavailable"},
        {"kind": "refuse"},
        {"kind": "throttle"},
        {"kind": "error", "code": "401"},
        {"kind": "error", "code": "403"},
    ],
)
def test_a_call_that_certainly_failed_falls_back_with_all_its_messages(
    sendgrid, campaign, simulator, taken, fault
):
    sent = emails(campaign, 12)
    simulator.set_fault("SendGridEmail", fault.pop("kind"), **fault)

    drain(window=3)

    assert taken() == by("SMTPEmail", sent)
    assert statuses() == {MessageStatus.SENT}
    assert not CampaignMessage.objects.filter(retry_count__gt=0).exists()


def test_after_a_lost_answer_each_is_looked_up_and_none_is_sent_again(
    sendgrid, campaign, simulator, taken
):
    sent = emails(campaign, 5)
    simulator.set_fault("SendGridEmail", "drop", accepted=True, count=1)

    report = drain(idle=4)

    assert report.unknown == 5
    assert taken() == by("SendGridEmail", sent)
    assert statuses() == {MessageStatus.DELIVERED}
    assert DeliveryReceipt.objects.count() == 5


def test_after_a_lost_call_each_is_looked_up_and_goes_out_once(
    sendgrid, campaign, simulator, taken
):
    sent = emails(campaign, 5)
    simulator.set_fault("SendGridEmail", "drop", count=1)

    report = drain(idle=4)

    assert report.unknown == 5
    assert sorted(recipient for _, recipient in taken()) == [
        each.recipient for each in sent
    ]
    assert statuses() == {MessageStatus.SENT}
