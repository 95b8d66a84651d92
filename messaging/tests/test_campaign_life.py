"""Campaigns: launch, pause, resume, cancel."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from messaging.addresses import Address
from messaging.audience.recipients import Recipient
from messaging.campaign_progress import progress_of
from messaging.campaigns import (
    CampaignError,
    Withdrawal,
    WrongState,
    add_to_draft,
    cancel_campaigns,
    launch_campaign,
    pause_campaigns,
    resume_campaigns,
)
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign
from messaging.queue.completion import close_campaigns
from messaging.queue.worker import Limits, Processor
from messaging.queue_status import is_work_waiting
from messaging.tests.scenario import PATIENCE, running
from messaging.vocabulary import CampaignStatus, WorkerKind
from routing.rules.tally import Part
from routing.statistics.entries import read_totals
from routing.vocabulary import MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def campaigns_in_every_status():
    return {status: CampaignFactory(status=status) for status in CampaignStatus}


def statuses(campaigns):
    for campaign in campaigns.values():
        campaign.refresh_from_db()
    return {
        before: CampaignStatus(campaign.status)
        for before, campaign in campaigns.items()
        if campaign.status != before
    }


def test_pause_holds_back_running_campaigns_only():
    campaigns = campaigns_in_every_status()

    assert pause_campaigns(Campaign.objects.all()) == 1
    assert statuses(campaigns) == {CampaignStatus.RUNNING: CampaignStatus.PAUSED}


def test_resume_lets_paused_campaigns_go_on_and_no_others():
    campaigns = campaigns_in_every_status()

    assert resume_campaigns(Campaign.objects.all()) == 1
    assert statuses(campaigns) == {CampaignStatus.PAUSED: CampaignStatus.RUNNING}


def test_cancel_ends_what_is_not_over():
    campaigns = campaigns_in_every_status()

    assert cancel_campaigns(Campaign.objects.all(), now=NOW).campaigns == 3
    cancelled = CampaignStatus.CANCELLED
    assert statuses(campaigns) == {
        CampaignStatus.DRAFT: cancelled,
        CampaignStatus.RUNNING: cancelled,
        CampaignStatus.PAUSED: cancelled,
    }


def test_cancel_withdraws_what_has_not_left_and_says_so():
    campaign = CampaignFactory()
    queued = MessageFactory(campaign=campaign)

    cancel_campaigns(Campaign.objects.all(), now=NOW)

    queued.refresh_from_db()
    assert queued.status == MessageStatus.CANCELLED
    assert queued.status_reason == "The campaign was cancelled."
    assert queued.finished_at == NOW


@pytest.mark.parametrize(
    "status", [MessageStatus.SENDING, MessageStatus.SENT, MessageStatus.DELIVERED]
)
def test_cancel_leaves_what_has_left_as_it_is(status):
    lease = NOW if status == MessageStatus.SENDING else None
    message = MessageFactory(status=status, lease_expires_at=lease)

    cancel_campaigns(Campaign.objects.all(), now=NOW)

    message.refresh_from_db()
    assert message.status == status


def test_cancel_touches_only_the_chosen_campaigns():
    chosen, other = MessageFactory(), MessageFactory()

    cancel_campaigns(Campaign.objects.filter(pk=chosen.campaign_id), now=NOW)

    other.refresh_from_db()
    assert other.status == MessageStatus.QUEUED
    assert other.campaign.status == CampaignStatus.RUNNING


def test_cancel_tells_what_was_withdrawn_and_what_is_in_flight():
    campaign = CampaignFactory()
    MessageFactory.create_batch(2, campaign=campaign)
    MessageFactory(
        campaign=campaign, status=MessageStatus.SENDING, lease_expires_at=NOW
    )
    MessageFactory(campaign=campaign, status=MessageStatus.SENT)

    done = cancel_campaigns(Campaign.objects.all(), now=NOW)

    assert done == Withdrawal(campaigns=1, withdrawn=2, in_flight=1)


@pytest.fixture
def small_batches(monkeypatch):
    """Treat a handful of messages as a large campaign."""
    monkeypatch.setattr("messaging.transitions.BATCH", 2)
    monkeypatch.setattr("messaging.queue.completion.BATCH", 2)
    monkeypatch.setattr("messaging.queue.sweep.BATCH", 2)
    monkeypatch.setattr("messaging.queue.worker.BATCH", 2)
    monkeypatch.setattr("messaging.campaigns.AT_ONCE", 4)
    monkeypatch.setattr("messaging.campaigns.AT_LEAST", 1)


def cancelled(campaign):
    messages = campaign.messages.filter(status=MessageStatus.CANCELLED)
    return messages.count()


@pytest.mark.usefixtures("small_batches")
def test_cancelling_takes_as_long_for_any_number_of_messages_and_counts_them_all():
    campaign = CampaignFactory()
    MessageFactory.create_batch(11, campaign=campaign)

    done = cancel_campaigns(Campaign.objects.all(), now=NOW)

    assert done == Withdrawal(campaigns=1, withdrawn=11)
    assert cancelled(campaign) == 4
    progress = progress_of([campaign.pk])
    assert progress.by_status == {MessageStatus.CANCELLED: 11}
    assert (progress.left, progress.next_due_at) == (0, None)


@pytest.mark.usefixtures("small_batches")
def test_sweeps_withdraw_the_rest_batch_by_batch_and_count_each_once():
    campaign = CampaignFactory()
    MessageFactory.create_batch(9, campaign=campaign)
    cancel_campaigns(Campaign.objects.all(), now=NOW)

    counts = [close_campaigns(now=NOW + HOUR) for _ in range(4)]

    assert counts == [2, 2, 1, 0]
    assert cancelled(campaign) == 9
    tallies = read_totals().part(Part.MESSAGES).tallies()
    assert sum(tally.messages(MessageStatus.CANCELLED) for _, tally in tallies) == 9


@pytest.mark.usefixtures("small_batches")
def test_a_worker_that_leaves_when_all_is_done_leaves_no_cancelled_message_queued():
    campaign = CampaignFactory()
    MessageFactory.create_batch(15, campaign=campaign)
    cancel_campaigns(Campaign.objects.all(), now=NOW)
    assert is_work_waiting(NOW)

    limits = Limits(batch_size=5, window=5)
    clock = lambda: NOW  # noqa: E731
    Processor(
        kind=WorkerKind.COMMAND, limits=limits, idle_limit=timedelta(0), clock=clock
    ).run()

    assert cancelled(campaign) == 15
    assert not is_work_waiting(NOW)


def test_cancel_leaves_the_lanes_of_single_messages_open():
    message = MessageFactory(campaign__is_standing=True)

    assert cancel_campaigns(Campaign.objects.all(), now=NOW) == Withdrawal()

    message.refresh_from_db()
    assert message.status == MessageStatus.QUEUED


@pytest.fixture
def draft(route):
    """A draft, over a route that works."""
    return CampaignFactory(status=CampaignStatus.DRAFT)


def recipient(number, line=1):
    return Recipient(line, Address(f"+1415555{number:04}", "US"), {})


def add(campaign, *rows, now=NOW):
    rejections = []
    add_to_draft(campaign, rows, now=now, on_rejected=rejections.append)
    return [(each.line, each.reason) for each in rejections]


def test_a_draft_is_filled_bit_by_bit_and_then_launched(draft):
    add(draft, recipient(1), recipient(2))
    rejections = add(draft, recipient(2, line=0), recipient(3, line=1))
    launch_campaign(draft, now=NOW)

    assert rejections == [(0, "duplicate recipient")]
    assert draft.messages.count() == 3
    assert (draft.status, draft.launched_at) == (CampaignStatus.RUNNING, NOW)


def test_the_messages_of_a_scheduled_draft_are_due_at_its_time(draft):
    Campaign.objects.update(scheduled_at=NOW + HOUR)

    add(draft, recipient(1))
    add(draft, recipient(2), now=NOW + 2 * HOUR)

    due = draft.messages.order_by("id").values_list("due_at", flat=True)
    assert list(due) == [NOW + HOUR, NOW + 2 * HOUR]


def test_a_draft_without_recipients_is_not_launched(draft):
    with pytest.raises(CampaignError, match="has no recipients"):
        launch_campaign(draft, now=NOW)

    draft.refresh_from_db()
    assert draft.status == CampaignStatus.DRAFT


def test_a_draft_that_has_expired_is_not_launched(draft):
    draft.expires_at = NOW
    add(draft, recipient(1))

    with pytest.raises(CampaignError, match="expired at 2026-11-24T09:00"):
        launch_campaign(draft, now=NOW)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (CampaignStatus.RUNNING, "is running: you can pause or cancel it"),
        (CampaignStatus.PAUSED, "is paused: you can resume or cancel it"),
        (CampaignStatus.COMPLETED, "is completed: it cannot be changed"),
        (CampaignStatus.CANCELLED, "is cancelled: it cannot be changed"),
    ],
)
def test_only_a_draft_is_filled_and_launched(draft, status, says):
    MessageFactory(campaign=draft)
    Campaign.objects.update(status=status)

    with pytest.raises(WrongState, match=says):
        add(draft, recipient(1))
    with pytest.raises(WrongState, match=says):
        launch_campaign(draft, now=NOW)

    assert draft.messages.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_who_add_the_same_recipients_at_once_add_each_of_them_once(
    needs_a_server, draft
):
    barrier, duplicates = threading.Barrier(2), []

    def work():
        barrier.wait(PATIENCE)
        duplicates.extend(add(draft, *map(recipient, range(50))))

    with running(work), running(work):
        pass

    assert draft.messages.count() == len(duplicates) == 50
