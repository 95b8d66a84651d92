"""The demo's proof can fail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marketing_platform.demo.check import Recorded, Verdict, check, compare
from messaging.factories import CampaignFactory, MessageFactory
from routing.simulators.handset import HandsetEntry, SimulatedMessage
from routing.vocabulary import MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SENT, DELIVERED = Recorded(MessageStatus.SENT), Recorded(MessageStatus.DELIVERED)
FAILED, BOUNCED = Recorded(MessageStatus.FAILED), Recorded(MessageStatus.BOUNCED)
PERHAPS_SENT = Recorded(MessageStatus.FAILED, is_outcome_unknown=True)
NOTHING_WRONG = {"lost": 0, "doubled": 0, "unrecorded": 0, "unconfirmed": 0}


def verdict(on_handsets, **wrong):
    return Verdict(on_handsets=on_handsets, **(NOTHING_WRONG | wrong))


def handset(message, event="handset", *, reference=None):
    """One line of the handset log, about the first attempt of a message."""
    return HandsetEntry(
        event,
        NOW,
        SimulatedMessage(
            provider="TwilioSMS",
            external_message_id="SM1",
            reference=f"m{message.pk}a1" if reference is None else reference,
            recipient=message.recipient,
            body="Hello",
        ),
    )


def test_what_arrived_and_is_recorded_is_clean():
    found = compare({1: 1, 2: 1}, {1: SENT, 2: DELIVERED})

    assert found == verdict(2)
    assert found.is_clean


@pytest.mark.parametrize("recorded", [SENT, FAILED, BOUNCED])
def test_what_did_not_arrive_and_was_never_said_to_is_clean(recorded):
    assert compare({}, {1: recorded}) == verdict(0)


@pytest.mark.parametrize(
    "recorded",
    [Recorded(MessageStatus.QUEUED), Recorded(MessageStatus.SENDING), DELIVERED],
)
def test_a_message_that_is_neither_there_nor_given_up_is_lost(recorded):
    found = compare({}, {1: recorded, 2: SENT})

    assert found == verdict(0, lost=1)
    assert not found.is_clean


def test_a_message_that_arrives_more_than_once_is_doubled_once():
    found = compare({1: 2, 2: 3, 3: 1}, {1: SENT, 2: DELIVERED, 3: SENT})

    assert found == verdict(3, doubled=2)
    assert not found.is_clean


@pytest.mark.parametrize(
    "recorded",
    [FAILED, BOUNCED, Recorded(MessageStatus.CANCELLED)],
)
def test_an_arrival_that_the_database_denies_is_unrecorded(recorded):
    found = compare({1: 1}, {1: recorded})

    assert found == verdict(1, unrecorded=1)
    assert not found.is_clean


def test_an_arrival_of_no_message_is_unrecorded():
    assert compare({7: 1}, {}) == verdict(1, unrecorded=1)


@pytest.mark.parametrize("arrivals", [{}, {1: 1}])
def test_a_failure_that_owns_up_to_its_doubt_is_unconfirmed_and_no_lie(arrivals):
    found = compare(arrivals, {1: PERHAPS_SENT})

    assert found == verdict(len(arrivals), unconfirmed=1)
    assert found.is_clean


@pytest.mark.django_db
def test_the_check_reads_the_log_and_the_campaigns_it_is_asked_about():
    fine, denied, lost, doubled, doubtful = (
        MessageFactory(status=status)
        for status in (
            *[MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.QUEUED],
            *[MessageStatus.DELIVERED, MessageStatus.FAILED],
        )
    )
    doubtful.unknown_since = NOW
    doubtful.save()
    elsewhere = MessageFactory(campaign=CampaignFactory())
    everything = [fine, denied, lost, doubled, doubtful]
    arrived = [handset(each) for each in (fine, denied, doubled, doubled)]

    found = check(arrived, [each.campaign_id for each in everything])

    assert found == verdict(3, lost=1, doubled=1, unrecorded=1, unconfirmed=1)
    assert elsewhere.campaign_id not in [each.campaign_id for each in everything]


@pytest.mark.django_db
def test_what_a_provider_accepted_has_not_arrived_yet():
    message = MessageFactory(status=MessageStatus.DELIVERED)

    found = check([handset(message, "accepted")], [message.campaign_id])

    assert found == verdict(0, lost=1)


@pytest.mark.django_db
def test_two_attempts_of_one_message_that_both_arrive_are_a_double():
    message = MessageFactory(status=MessageStatus.DELIVERED)
    again = handset(message, reference=f"m{message.pk}a2")

    found = check([handset(message), again], [message.campaign_id])

    assert found.doubled == 1


@pytest.mark.django_db
def test_what_others_sent_through_the_simulators_is_none_of_ours():
    message = MessageFactory(status=MessageStatus.FAILED)

    found = check([handset(message, reference="theirs")], [message.campaign_id])

    assert found == verdict(0)
