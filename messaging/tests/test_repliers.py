"""A STOP ends messages to its handset, however the network writes the sender."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.consent.repliers import LATELY
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue.gate import holds_on
from routing.providers.base import Inbound
from routing.receipts.inbound import record_inbound
from routing.vocabulary import CampaignKind, Keyword, MessageStatus

pytestmark = pytest.mark.django_db


def sent(recipient, *, provider="VonageSMS", ago=timedelta(days=1)):
    return MessageFactory(
        recipient=recipient,
        status=MessageStatus.SENT,
        provider=provider,
        sent_at=timezone.now() - ago,
    )


def say(text, sender, *, ours="+447700900000", event_id="X1"):
    return record_inbound(
        provider_name="VonageSMS",
        inbound=Inbound(event_id, sender, ours, text),
        raw="",
        now=timezone.now(),
    )


def is_held_back(recipient, kind=CampaignKind.MARKETING):
    """Whether the next campaign skips the number."""
    message = MessageFactory(campaign=CampaignFactory(kind=kind), recipient=recipient)
    messages = CampaignMessage.objects.with_suppression().select_related("campaign")
    return bool(holds_on(messages.filter(pk=message.pk), now=timezone.now()))


@pytest.mark.parametrize(
    ("recipient", "sender"),
    [
        ("+525512345678", "+5215512345678"),  # another spelling
        ("+5511981234567", "+551181234567"),
        ("+447400123456", "447400123456"),  # no plus
        ("+447400123456", "07400123456"),  # a national number
        ("+447400123456", "+07400123456"),
        ("+447400123456", "00447400123456"),
        ("+447400123456", "+4407400123456"),
        ("+525512345678", "5512345678"),
        ("+5215512345678", "+5512345678"),  # a valid number in Brazil
        ("+447400123456", "+9990447400123456"),  # with a prefix of the network
        ("+3545123456", "5123456"),
    ],
)
def test_a_stop_holds_back_the_next_message_to_whom_it_comes_from(recipient, sender):
    sent(recipient)
    sent("+447400123999")

    say("STOP", sender)

    assert is_held_back(recipient)
    assert is_held_back(recipient, kind=CampaignKind.TRANSACTIONAL)
    assert not is_held_back("+447400123999")

    say("START", sender, event_id="X2")
    assert not is_held_back(recipient)


@pytest.mark.parametrize(
    ("text", "sender", "ours"),
    [
        ("ende", "+4915112345678", "+447700900000"),
        ("ENDE", "4915112345678", "+447700900000"),
        ("Ende!", "004915112345678", "+447700900000"),
        ("ende", "015112345678", "+4915112345670"),
        ("ende", "+015112345678", "+4915112345670"),
    ],
)
def test_a_word_of_one_country_counts_however_its_sender_is_written(text, sender, ours):
    sent("+4915112345678")

    say(text, sender, ours=ours)

    assert is_held_back("+4915112345678")


@pytest.mark.parametrize(
    ("sender", "ours"),
    [("+447400123456", "+4915112345670"), ("07400123456", "+447700900000")],
)
def test_a_word_of_another_country_is_no_stop(sender, ours):
    sent("+447400123456")

    assert say("ende", sender, ours=ours).keyword is None


def test_a_stop_holds_back_every_spelling_of_its_handset():
    say("STOP", "+5215512345678")

    assert Suppression.objects.get().address == "+525512345678"
    assert is_held_back("+525512345678")
    assert is_held_back("+5215512345678")


@pytest.mark.parametrize(
    "earlier",
    [
        {"recipient": "+447400123456", "ago": LATELY + timedelta(days=1)},
        {"recipient": "+447400123457"},
        {"recipient": "+4487400123456"},
    ],
)
def test_a_stop_is_not_taken_for_that_of_another(earlier):
    message = sent(**earlier)

    say("STOP", "07400123456")

    assert Suppression.objects.get().address == "07400123456"
    assert not is_held_back(message.recipient)


def test_a_stop_counts_where_its_provider_sent_rather_than_another():
    sent("+447400123456", provider="VonageSMS")
    sent("+337400123456", provider="TwilioSMS")

    say("STOP", "07400123456")

    assert Suppression.objects.get().address == "+447400123456"


def test_a_stop_that_may_be_of_two_counts_for_both_and_a_start_for_none():
    sent("+447400123456")
    sent("+337400123456")

    say("STOP", "07400123456")
    say("START", "07400123456", event_id="X2")

    assert Suppression.objects.count() == 2


@pytest.mark.parametrize("sender", ["ANONYMOUS", "+266696687", "", "0" * 200])
def test_a_stop_of_nobody_known_is_kept_and_told(sender, caplog):
    sent("+447400123456")

    row = say("STOP", sender)

    assert row.keyword == Keyword.STOP
    assert f"Inbound message {row.pk} says STOP" in caplog.text
    assert not is_held_back("+447400123456")
