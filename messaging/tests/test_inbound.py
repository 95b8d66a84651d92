"""STOP and START take effect at once, for all campaigns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from messaging.consent.suppression import suppress
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue.worker import Limits, Processor
from messaging.tests.scenario import claim, failed, write
from messaging.vocabulary import SuppressionReason, WorkerKind
from routing.dispatch import SendRequest, send
from routing.factories import RouteFactory
from routing.models import InboundMessage
from routing.providers.base import Inbound
from routing.receipts.inbound import record_inbound
from routing.rules.decide import Decision, FallBack
from routing.simulators.inbound import INBOUND_PROVIDERS
from routing.simulators.process import read_handset_log
from routing.vocabulary import FallbackReason, Keyword, MessageStatus

ADA, BOB = "+14155550101", "+14155550102"


def say(text, *, sender=ADA, event_id="SM1"):
    """A text from a handset, as its provider delivers it."""
    record_inbound(
        provider_name="TwilioSMS",
        inbound=Inbound(event_id, sender, "+15005550006", text),
        raw="",
        now=timezone.now(),
    )


@pytest.mark.django_db
def test_a_stop_suppresses_its_number(route):
    say("Stop!")

    suppression = Suppression.objects.get()
    assert (suppression.address, suppression.source) == (ADA, "TwilioSMS")
    assert suppression.reason == SuppressionReason.OPTED_OUT


@pytest.mark.django_db
def test_a_number_is_suppressed_in_the_form_that_messages_have():
    say("stop", sender="+44 7400 123456")

    assert Suppression.objects.get().address == "+447400123456"


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["HELP", "When do you open?", ""])
def test_other_words_change_nothing(text):
    say(text)

    assert not Suppression.objects.exists()


@pytest.mark.django_db
def test_a_start_takes_a_stop_back():
    say("STOP", event_id="SM1")
    say("START", event_id="SM2")

    assert not Suppression.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "reason",
    [each for each in SuppressionReason if each != SuppressionReason.OPTED_OUT],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_start_lifts_no_other_suppression(reason, is_first):
    if is_first:
        suppress([ADA], reason=reason, source="Ada")
    say("STOP", event_id="SM1")
    if not is_first:
        suppress([ADA], reason=reason, source="Ada")
    say("START", event_id="SM2")

    assert Suppression.objects.get().reason == reason


@pytest.mark.django_db
def test_a_start_that_is_replayed_does_not_undo_a_newer_stop():
    say("START", event_id="SM1")
    say("STOP", event_id="SM2")

    say("START", event_id="SM1")

    assert Suppression.objects.get().address == ADA


def drain(**limits):
    limits = Limits(**limits)
    Processor(kind=WorkerKind.COMMAND, limits=limits, idle_limit=timedelta(0)).run()


@pytest.fixture
def reached(simulator, simulator_process):
    """How many messages a handset has got so far."""
    simulator.configure(receipts=False)

    def count(number):
        entries = read_handset_log(simulator_process.handset_log)
        return sum(
            e.event == "handset" and e.message.recipient == number for e in entries
        )

    return count


@pytest.mark.django_db(transaction=True)
def test_after_a_stop_nothing_more_reaches_the_handset(live_server, simulator, reached):
    RouteFactory()
    for _ in range(6):
        campaign = CampaignFactory()
        MessageFactory(campaign=campaign, recipient=ADA)
        MessageFactory(campaign=campaign, recipient=BOB)
    drain(max_messages=4)
    before = reached(ADA)

    assert simulator.text_us("VonageSMS", ADA, "Stop") == (204, "")
    drain()

    assert (reached(ADA), reached(BOB)) == (before, 6)
    left = CampaignMessage.objects.filter(recipient=ADA).exclude(
        status=MessageStatus.SENT
    )
    assert left.count() == 6 - before > 0
    assert {message.status for message in left} == {MessageStatus.SUPPRESSED}


@pytest.mark.django_db(transaction=True)
def test_a_stop_while_a_provider_thinks_calls_the_fallback_off(
    live_server, simulator, reached
):
    RouteFactory()
    simulator.set_fault("TwilioSMS", "unavailable")
    message = MessageFactory(recipient=ADA)
    [claimed] = claim(now=timezone.now())
    [done] = send(
        provider_name="TwilioSMS",
        requests=[SendRequest(claimed.content, segments=1, estimate=None)],
        not_after=claimed.lease_expires_at,
        clock=lambda: datetime.now(UTC),
    )

    simulator.text_us("TwilioSMS", ADA, "STOP")
    reason = FallbackReason.PROVIDER_UNAVAILABLE
    fall_back = FallBack(Decision("VonageSMS", reason, {}))
    left = write(failed(claimed, done.failure, fall_back), now=timezone.now())

    assert left == []
    message.refresh_from_db()
    assert message.status == MessageStatus.SUPPRESSED
    drain()
    assert reached(ADA) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("provider", INBOUND_PROVIDERS)
def test_a_handset_stops_and_starts_over_the_wire(live_server, simulator, provider):
    assert simulator.text_us(provider, ADA, "stop please")[0] == 204
    assert Suppression.objects.get().address == ADA

    assert simulator.text_us(provider, ADA, "START")[0] == 204
    assert not Suppression.objects.exists()
    assert InboundMessage.objects.count() == 2


def test_texts_are_read_in_the_back_office_and_changed_by_nobody(admin_client):
    say("Stop!")
    changelist = reverse("admin:routing_inboundmessage_changelist")
    row = reverse(
        "admin:routing_inboundmessage_change", args=[InboundMessage.objects.get().pk]
    )

    page = admin_client.get(changelist, {"q": ADA, "keyword__exact": Keyword.STOP})

    assert "Stop!" in page.content.decode()
    assert admin_client.get(row).status_code == 200
    assert admin_client.post(row, {}).status_code == 403
