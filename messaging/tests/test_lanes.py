"""Lanes: whose messages go next, and where each lane was left."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.db import connection

from messaging.factories import CampaignFactory
from messaging.models import Campaign, CampaignMessage
from messaging.queue.lanes import COMMIT_LAG, LOOK_BACK_EVERY, LOOK_EVERY, Lanes
from messaging.tests.scenario import MINUTE, NOW, claimer, messages, statements_of
from messaging.vocabulary import CampaignStatus
from routing.decision.planner import Available
from routing.vocabulary import Channel, MessageStatus

pytestmark = pytest.mark.django_db
ROOM = Available(dict.fromkeys(Channel, math.inf))


def lock(lanes, limit, *, now=NOW, available=ROOM):
    """Lock messages, and mark them as claimed; returns their ids."""
    locked = lanes.lock_due(limit, available, now=now).locked
    ids = [each.pk for each in locked]
    CampaignMessage.objects.filter(pk__in=ids).update(
        status=MessageStatus.SENDING, lease_expires_at=now + MINUTE
    )
    return ids


def ids_of(rows):
    return [each.pk for each in rows]


def test_the_next_claim_goes_on_where_the_last_one_stopped():
    rows = messages(5)
    lanes = Lanes()

    assert lock(lanes, 2) == ids_of(rows[:2])
    assert lock(lanes, 2) == ids_of(rows[2:4])
    assert lock(lanes, 2) == ids_of(rows[4:])


def test_what_one_lane_leaves_goes_to_the_others_in_the_same_claim():
    small = messages(1, campaign=CampaignFactory())
    large = messages(20, campaign=CampaignFactory())

    locked = lock(Lanes(), 10)

    assert set(locked) == {*ids_of(small), *ids_of(large[:9])}


def test_all_lanes_are_locked_with_one_statement_on_postgresql():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks lane by lane")
    for _ in range(30):
        messages(1, campaign=CampaignFactory())
    lanes = Lanes()

    statements = statements_of(lambda: lanes.lock_due(30, ROOM, now=NOW))

    assert len(statements) == 2  # which lanes there are, and their messages


def test_a_more_urgent_campaign_is_seen_while_a_lane_still_has_more():
    messages(9, campaign=CampaignFactory(priority=1))
    lanes = Lanes()
    lock(lanes, 2)
    urgent = messages(2, campaign=CampaignFactory(priority=9))

    assert lock(lanes, 2, now=NOW + LOOK_EVERY) == ids_of(urgent)


def test_a_text_is_read_once_while_its_lane_has_more():
    first, *_ = messages(9)
    lanes = Lanes()
    lock(lanes, 2)
    Campaign.objects.update(body="of another hand", name="Renamed")

    locked, *_ = lanes.lock_due(9, ROOM, now=NOW + LOOK_EVERY).locked

    assert locked.campaign.name == "Renamed"
    assert locked.campaign.body == first.campaign.body != "of another hand"


def test_an_urgent_campaign_is_seen_also_after_the_clock_was_set_back():
    messages(9, campaign=CampaignFactory(priority=1))
    lanes = Lanes()
    lock(lanes, 2)
    urgent = messages(2, campaign=CampaignFactory(priority=9))

    assert lock(lanes, 2, now=NOW - MINUTE / 2) == ids_of(urgent)


@pytest.mark.parametrize("status", [CampaignStatus.PAUSED, CampaignStatus.CANCELLED])
def test_a_campaign_that_stops_gives_nothing_from_the_next_claim_on(status):
    messages(9)
    lanes = Lanes()
    lock(lanes, 2)

    Campaign.objects.update(status=status)

    assert lock(lanes, 2) == []


def test_a_message_that_another_worker_let_go_is_found_again_after_a_while():
    first, *_ = rows = messages(9)
    lanes = Lanes()
    lock(lanes, 2)
    CampaignMessage.objects.filter(pk=first.pk).update(
        status=MessageStatus.QUEUED, lease_expires_at=None
    )

    assert lock(lanes, 2) == ids_of(rows[2:4])
    assert lock(lanes, 1, now=NOW + LOOK_BACK_EVERY) == [first.pk]


def test_a_lane_that_a_throttle_holds_back_is_looked_at_from_its_front_too():
    first, *_ = messages(9)
    lanes = Lanes()
    throttled = Available({**ROOM.by_channel, Channel.SMS: 1})
    lock(lanes, 2, available=throttled)
    CampaignMessage.objects.filter(pk=first.pk).update(
        status=MessageStatus.QUEUED, lease_expires_at=None
    )
    lock(lanes, 2, available=throttled, now=NOW + LOOK_BACK_EVERY - LOOK_EVERY / 2)

    ids = lock(lanes, 2, available=throttled, now=NOW + LOOK_BACK_EVERY)

    assert ids == [first.pk]


def test_a_lane_that_is_exhausted_is_looked_at_from_its_front_again():
    (first,) = messages(1)
    lanes = Lanes()
    lock(lanes, 2)
    CampaignMessage.objects.update(status=MessageStatus.QUEUED, lease_expires_at=None)

    assert lock(lanes, 2) == [first.pk]


def test_a_single_message_that_is_committed_late_is_not_passed_over():
    standing = CampaignFactory(is_standing=True)
    messages(4, campaign=standing, due_at=NOW)
    lanes = Lanes()
    lock(lanes, 2)
    late = messages(
        1, campaign=standing, due_at=NOW - COMMIT_LAG + timedelta(seconds=1)
    )

    assert lock(lanes, 1) == ids_of(late)


def test_after_a_claim_that_failed_its_messages_are_claimed_again(route, settings):
    rows = messages(2)
    worker = claimer()
    with pytest.raises(RuntimeError), connection.execute_wrapper(_fails_to_claim):
        worker.claim(limit=1, now=NOW)

    claimed = worker.claim(limit=1, now=NOW).claimed

    assert [each.message_id for each in claimed] == [rows[0].pk]


def _fails_to_claim(execute, statement, *others):
    if "lease_owner = %s, lease_expires_at = %s" in statement:
        raise RuntimeError("The database is gone.")
    return execute(statement, *others)
