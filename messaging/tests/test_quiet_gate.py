"""Quiet hours at the gate: messages due in them wait for the recipient's morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging.campaign_progress import progress_of
from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.rules.quiet_hours import QuietHours
from messaging.tests.scenario import MINUTE, claim, failed, messages, write
from messaging.vocabulary import CampaignStatus
from routing.providers.base import ProviderError
from routing.rules.decide import Decision, FallBack
from routing.vocabulary import CampaignKind, FallbackReason, MessageStatus

pytestmark = pytest.mark.django_db

NIGHT = QuietHours.parse("21:00-08:00")
EVENING = datetime(
    2026, 11, 25, 5, 0, tzinfo=UTC
)  # 21:00 in California, 6:00 in Berlin
BEFORE = EVENING - timedelta(seconds=1)
MORNING = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)  # 8:00 in California
CALIFORNIAN, GERMAN = "+14155550101", "+4915112345678"
TO_VONAGE = FallBack(Decision("VonageSMS", FallbackReason.PRIMARY_FAILED, {}))


@pytest.fixture
def campaign(route):
    """A campaign with quiet hours."""
    return CampaignFactory(quiet_from=NIGHT.start, quiet_until=NIGHT.end)


def due(campaign, recipient=CALIFORNIAN, **fields):
    """A message of the campaign that is due."""
    fields = {"due_at": EVENING - MINUTE} | fields
    (message,) = messages(1, campaign=campaign, recipient=recipient, **fields)
    return message


def recipients(claimed):
    return [each.content.recipient for each in claimed]


def state_of(message):
    message.refresh_from_db()
    return (message.status, message.due_at, message.status_reason)


def test_what_is_due_in_quiet_hours_waits_for_their_end_and_says_so(campaign):
    message = due(campaign)

    assert claim(now=EVENING) == []
    reason = "Quiet hours until 08:00 in America/Los_Angeles."
    assert state_of(message) == (MessageStatus.QUEUED, MORNING, reason)
    assert message.finished_at is None


def test_it_leaves_when_they_are_over(campaign):
    message = due(campaign)
    claim(now=EVENING)

    assert claim(now=MORNING - MINUTE) == []
    assert recipients(claim(now=MORNING)) == [CALIFORNIAN]
    assert state_of(message)[2] == ""


def test_each_recipient_has_hours_of_his_own(campaign):
    due(campaign)
    due(campaign, GERMAN)

    assert recipients(claim(now=EVENING + timedelta(hours=2))) == [GERMAN]


def test_before_they_begin_it_leaves(campaign):
    due(campaign)

    assert recipients(claim(now=BEFORE)) == [CALIFORNIAN]


def test_a_campaign_without_quiet_hours_leaves_at_night(route, settings):
    settings.QUIET_HOURS = NIGHT  # for those to come
    due(CampaignFactory())

    assert recipients(claim(now=EVENING)) == [CALIFORNIAN]


@pytest.mark.parametrize(
    ("kind", "left"),
    [(CampaignKind.MARKETING, []), (CampaignKind.TRANSACTIONAL, [CALIFORNIAN])],
)
def test_single_messages_of_marketing_keep_to_the_installations(
    route, settings, kind, left
):
    settings.QUIET_HOURS = NIGHT
    due(CampaignFactory(is_standing=True, kind=kind))

    assert recipients(claim(now=EVENING)) == left


@pytest.mark.parametrize("of_campaign", [True, False])
def test_what_expires_before_they_end_does_so_at_its_time(campaign, of_campaign):
    midnight = EVENING + timedelta(hours=3)
    message = due(campaign, expires_at=None if of_campaign else midnight)
    if of_campaign:
        campaign.expires_at = midnight
        campaign.save()
    claim(now=EVENING)

    assert state_of(message)[:2] == (MessageStatus.QUEUED, midnight)
    claim(now=midnight)
    assert state_of(message)[0] == MessageStatus.EXPIRED


def test_the_campaign_tells_what_it_waits_for(campaign):
    due(campaign)
    claim(now=EVENING)

    progress = progress_of([campaign.pk])

    assert progress.next_due_at == MORNING
    assert progress.next_reason == "Quiet hours until 08:00 in America/Los_Angeles."


def test_a_cancelled_campaign_is_not_put_off(campaign):
    message = due(campaign)
    (claimed,) = claim(now=BEFORE)
    campaign.status = CampaignStatus.CANCELLED
    campaign.save()

    write(failed(claimed, ProviderError(), TO_VONAGE), now=EVENING)

    assert state_of(message)[0] == MessageStatus.CANCELLED


def test_a_fallback_waits_likewise(campaign):
    message = due(campaign)
    (claimed,) = claim(now=BEFORE)

    assert write(failed(claimed, ProviderError(), TO_VONAGE), now=EVENING) == []
    status, due_at, reason = state_of(message)
    assert (status, due_at) == (MessageStatus.QUEUED, MORNING)
    assert reason.startswith("Quiet hours until 08:00")
    assert CampaignMessage.objects.get().lease_owner is None
    assert len(claim(now=MORNING)) == 1


def test_before_they_begin_a_fallback_goes_out_at_once(campaign):
    due(campaign)
    (claimed,) = claim(now=BEFORE)

    fallbacks = write(failed(claimed, ProviderError(), TO_VONAGE), now=BEFORE)

    assert recipients(fallbacks) == [CALIFORNIAN]
