"""What the cluster runs. A real cluster: marketing_platform/tests/test_watchdog.py."""

from __future__ import annotations

import signal

import pytest

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage, WorkerHeartbeat
from messaging.tasks import drain_queue
from messaging.tests.scenario import messages
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.providers.base import ProviderError, RecipientError
from routing.providers.registry import registry
from routing.simulators.process import read_handset_log
from routing.vocabulary import MessageStatus


@pytest.mark.django_db(transaction=True)
def test_draining_sends_what_is_due_and_reports_it(route):
    due = messages(3)

    report = drain_queue()

    assert report["claimed"] == report["accepted"] == 3
    assert set(report) >= {"fallbacks", "retries", "unknown", "failed", "recovered"}
    sent = {message.recipient for message in registry.get("TwilioSMS").outbox}
    assert sent == {message.recipient for message in due}
    assert CampaignMessage.objects.filter(status=MessageStatus.SENT).count() == 3


@pytest.mark.django_db(transaction=True)
def test_draining_reports_what_did_not_go_well(route):
    messages(2)
    registry.get("TwilioSMS").fail_with(ProviderError(), RecipientError())

    report = drain_queue()

    assert (report["fallbacks"], report["failed"], report["accepted"]) == (1, 1, 1)
    assert MessageDeliveryAttempt.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_draining_twice_sends_once(route):
    messages(1)
    drain_queue()

    report = drain_queue()

    assert report["claimed"] == 0
    assert len(registry.get("TwilioSMS").outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_draining_leaves_no_sign_of_life_and_no_signal_handler(route):
    before = signal.getsignal(signal.SIGTERM)

    drain_queue()

    assert signal.getsignal(signal.SIGTERM) is before
    assert not WorkerHeartbeat.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_draining_goes_over_the_wire_of_the_simulators(simulator, simulator_process):
    RouteFactory()
    messages(2, campaign=CampaignFactory(body="From the cluster"))

    drain_queue()

    log = list(read_handset_log(simulator_process.handset_log))
    accepted = [each.message for each in log if each.event == "accepted"]
    assert [each.body for each in accepted] == ["From the cluster"] * 2
