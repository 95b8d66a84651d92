"""Changed quiet hours: messages that wait for the old ones are checked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.queue import quiet_changes
from messaging.queue.quiet_changes import AGAIN_AFTER, QuietChanges
from messaging.rules.quiet_hours import QuietHours
from messaging.tests.scenario import MINUTE, claim, messages
from messaging.vocabulary import CampaignStatus

pytestmark = pytest.mark.django_db

NIGHT = QuietHours.parse("21:00-08:00")
EVENING = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)  # 22:00 in California
MORNING = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)  # 8:00 in California
UNTIL_EIGHT = "Quiet hours until 08:00 in America/Los_Angeles."


@pytest.fixture
def campaign(route):
    return CampaignFactory(quiet_from=NIGHT.start, quiet_until=NIGHT.end)


def waiting(count, campaign, **fields):
    """Messages to Californians that wait for their morning."""
    fields = {"due_at": MORNING, "status_reason": UNTIL_EIGHT} | fields
    return [
        messages(1, campaign=campaign, recipient=f"+1415555{n:04}", **fields)[0]
        for n in range(1000, 1000 + count)
    ]


def change(campaign, hours):
    new = QuietHours.parse(hours) if hours else None
    campaign.quiet_from = new.start if new else None
    campaign.quiet_until = new.end if new else None
    campaign.save()


def due():
    return CampaignMessage.objects.due(EVENING).count()


def reviewed(now=EVENING):
    """The messages due after the review of a newly started worker."""
    QuietChanges().review(now=now)
    return due()


def test_what_waits_for_hours_that_are_gone_is_looked_at_again(campaign):
    waiting(2, campaign)
    change(campaign, None)

    assert reviewed() == 2
    assert len(claim(now=EVENING)) == 2


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ("21:00-08:00", 0),
        ("20:00-08:00", 0),  # it is quiet as before
        ("23:00-08:00", 1),  # it is not yet
        ("21:00-07:00", 1),  # it is, for less long
    ],
)
def test_only_what_the_change_is_about_is_touched(campaign, hours, expected):
    waiting(1, campaign)
    change(campaign, hours)

    assert reviewed() == expected


def test_a_message_that_waits_for_something_else_goes_on_waiting(campaign):
    waiting(1, campaign, status_reason="TwilioSMS is out of use.")
    change(campaign, None)

    assert reviewed() == 0


def test_those_of_a_zone_that_this_host_does_not_know_are_looked_at(campaign):
    waiting(1, campaign, status_reason="Quiet hours until 08:00 in Mars/Olympus.")

    assert reviewed() == 1


def test_a_paused_campaign_is_reviewed_when_it_goes_on(campaign):
    waiting(1, campaign)
    worker = QuietChanges()
    worker.review(now=EVENING)
    campaign.status = CampaignStatus.PAUSED
    change(campaign, None)
    worker.review(now=EVENING)
    assert due() == 0

    campaign.status = CampaignStatus.RUNNING
    campaign.save()
    worker.review(now=EVENING)

    assert due() == 1


def test_single_messages_are_reviewed_under_the_settings_that_a_worker_starts_with(
    route, settings
):
    settings.QUIET_HOURS = None
    waiting(1, CampaignFactory(is_standing=True))

    assert reviewed() == 1


def test_a_queue_is_gone_through_in_batches_whatever_has_the_same_time(
    campaign, monkeypatch
):
    monkeypatch.setattr(quiet_changes, "BATCH", 2)
    waiting(5, campaign)
    change(campaign, None)
    worker = QuietChanges()

    steps = [(worker.review(now=EVENING), due()) for _ in range(3)]

    assert steps == [(True, 2), (True, 4), (False, 5)]


def test_a_batch_is_shared_by_the_campaigns(campaign, monkeypatch):
    monkeypatch.setattr(quiet_changes, "BATCH", 3)
    other = CampaignFactory(quiet_from=NIGHT.start, quiet_until=NIGHT.end)
    for each in (campaign, other):
        waiting(2, each)
        change(each, None)
    worker = QuietChanges()

    steps = [(worker.review(now=EVENING), due()) for _ in range(2)]

    assert steps == [(True, 3), (False, 4)]


def test_a_worker_goes_through_a_queue_once_and_again_when_the_hours_change(campaign):
    waiting(1, campaign)
    worker = QuietChanges()
    worker.review(now=EVENING)

    with CaptureQueriesContext(connection) as seen:
        worker.review(now=EVENING + MINUTE)
    assert len(seen) == 1  # the campaigns

    change(campaign, None)
    worker.review(now=EVENING + MINUTE)
    assert CampaignMessage.objects.due(EVENING + MINUTE).count() == 1


def test_what_a_claim_puts_off_by_the_hours_of_before_is_found_a_little_later(campaign):
    worker = QuietChanges()
    worker.review(now=EVENING)
    change(campaign, None)
    worker.review(now=EVENING)
    waiting(1, campaign)  # by a claim that had read the campaign before

    worker.review(now=EVENING + AGAIN_AFTER - timedelta(seconds=1))
    assert due() == 0
    worker.review(now=EVENING + AGAIN_AFTER)

    assert CampaignMessage.objects.due(EVENING + AGAIN_AFTER).count() == 1
