"""The current state of the queue and its campaigns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.queue_status import (
    Counted,
    Outages,
    QueueStatus,
    campaigns_under_way,
    count_up_to,
    queue_status,
)
from messaging.tests.scenario import MINUTE, NOW, messages
from messaging.vocabulary import CampaignStatus
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.django_db


def status(**limit):
    return queue_status(now=NOW, **limit)


def test_an_empty_queue_holds_nothing():
    empty = Counted(0)

    assert status() == QueueStatus(empty, empty, empty, empty, None)


def test_messages_are_told_apart_by_their_time_and_by_who_has_them():
    campaign = CampaignFactory()
    messages(3, campaign=campaign, due_at=NOW - MINUTE)
    messages(2, campaign=campaign, due_at=NOW + MINUTE)
    held = {"status": MessageStatus.SENDING, "lease_expires_at": NOW + MINUTE}
    messages(4, campaign=campaign, **held)
    messages(1, campaign=campaign, unknown_since=NOW, **held)
    messages(1, campaign=campaign, status=MessageStatus.SENT)

    found = status()

    assert (found.due, found.later) == (Counted(3), Counted(2))
    assert (found.in_flight, found.unknown) == (Counted(4), Counted(1))
    assert found.oldest_due_at == NOW - MINUTE


@pytest.mark.parametrize("state", [CampaignStatus.PAUSED, CampaignStatus.DRAFT])
def test_what_may_not_leave_is_not_due(state):
    messages(1, campaign=CampaignFactory(status=state))

    assert not status().due


def test_no_campaign_is_counted_further_than_the_limit():
    messages(3)
    messages(1)

    assert str(status(at_most=2).due) == "over 3"
    assert str(status(at_most=3).due) == "4"


@pytest.mark.parametrize(("limit", "says"), [(2, "over 2"), (3, "3"), (4, "3")])
def test_a_count_stops_at_its_limit_and_says_so(limit, says):
    messages(3)

    assert str(count_up_to(limit, CampaignMessage.objects.all())) == says


def test_campaigns_under_way_are_the_running_ones_first_by_their_urgency():
    paused = CampaignFactory(status=CampaignStatus.PAUSED, priority=9)
    usual, urgent = CampaignFactory(priority=5), CampaignFactory(priority=8)
    CampaignFactory(status=CampaignStatus.COMPLETED)
    CampaignFactory(is_standing=True)

    found = [each.campaign for each in campaigns_under_way(at_most=3)]

    assert found == [urgent, usual, paused]


def test_a_campaign_tells_how_many_have_left_where_it_knows_how_many_there_were():
    known = CampaignFactory(message_count=5, priority=9)
    messages(2, campaign=known, due_at=NOW + timedelta(hours=1))
    messages(1, campaign=CampaignFactory())

    first, second = campaigns_under_way(at_most=2)

    assert (first.waiting, first.gone) == (Counted(2), 3)
    assert first.next_due_at == NOW + timedelta(hours=1)
    assert (second.waiting, second.gone) == (Counted(1), None)


@pytest.mark.parametrize(
    ("fields", "becomes"),
    [
        ({}, "TwilioSMS is asked at 09:01 UTC; fails at 10:00 UTC if nobody can say."),
        ({"lease_owner": 1}, "TwilioSMS is asked now; fails at 10:00 UTC if nobody"),
        (
            {"lease_expires_at": NOW + 60 * MINUTE},
            "Waits for a receipt; fails at 10:00 UTC if nobody can say.",
        ),
    ],
    ids=["later", "now", "never"],
)
def test_a_message_of_unknown_outcome_says_what_becomes_of_it(fields, becomes):
    [message] = messages(
        1,
        **{
            "status": MessageStatus.SENDING,
            "status_reason": "TwilioSMS: no answer.",
            "provider": "TwilioSMS",
            "unknown_since": NOW,
            "lease_expires_at": NOW + MINUTE,
            **fields,
        },
    )

    said = Outages(now=NOW).reason_for(message)

    assert said.startswith(f"TwilioSMS: no answer. {becomes}")
