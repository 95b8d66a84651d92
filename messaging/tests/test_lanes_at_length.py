"""Whatever happens to lanes, no due message is skipped for long.

Workers claim in turn, each by its own clock; messages are committed late, let go, put
off and paused, and throttles leave little room.
"""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, CampaignMessage
from messaging.queue.lanes import LOOK_BACK_EVERY, Lanes
from messaging.tests.scenario import NOW, run_machine
from messaging.vocabulary import CampaignStatus
from routing.decision.planner import Available
from routing.vocabulary import Channel, MessageStatus

pytestmark = [pytest.mark.django_db, pytest.mark.long]
WORKERS = (0, 1, 2)
LANES = (0, 1, 2)  # the last one is of single messages
SKEW = timedelta(seconds=2)  # of each worker's clock, in either direction
TICK = timedelta(milliseconds=30)
QUEUED = MessageStatus.QUEUED
workers, lanes = st.sampled_from(WORKERS), st.sampled_from(LANES)


class Traffic(RuleBasedStateMachine):
    """Three workers and three lanes."""

    @initialize(room=st.sampled_from([1, 2]))
    def begin(self, room):
        self.now, self.room = NOW, room
        self.lanes = {number: Lanes() for number in WORKERS}
        self.campaigns = [CampaignFactory(is_standing=n == LANES[-1]) for n in LANES]
        self.claimed = []

    def teardown(self):
        try:
            if hasattr(self, "campaigns"):
                self.nothing_due_stays_behind()
        finally:
            CampaignMessage.objects.all().delete()
            Campaign.objects.all().delete()

    @rule(lane=lanes, count=st.integers(1, 4), ago=st.integers(0, 300))
    def commit_late(self, lane, count, ago):
        """They fell due before, and are seen now only."""
        due_at = self.now - timedelta(seconds=ago)
        for _ in range(count):
            MessageFactory(campaign=self.campaigns[lane], due_at=due_at)

    @rule(worker=workers, limit=st.integers(1, 5), room=st.sampled_from([0, 1, 2, 99]))
    def claim(self, worker, limit, room):
        self.lock(worker, limit, room)

    def lock(self, worker, limit, room):
        now = self.now + (worker - 1) * SKEW
        available = Available({**dict.fromkeys(Channel, math.inf), Channel.SMS: room})
        locked = self.lanes[worker].lock_due(limit, available, now=now).locked
        ids = [message.pk for message in locked]
        assert len(set(ids)) == len(ids) <= limit
        CampaignMessage.objects.filter(pk__in=ids).update(
            status=MessageStatus.SENDING, lease_expires_at=now
        )
        self.claimed += ids
        return ids

    @rule(worker=workers)
    def fail_to_claim(self, worker):
        """The transaction is rolled back: nothing of it was so."""
        self.let_go(self.lock(worker, 3, 99), self.now)
        self.lanes[worker].forget()

    @rule(ago=st.integers(-5, 300))
    def put_back(self, ago):
        """As a retry does, an operator's, or a worker that had locked it."""
        self.let_go(self.claimed[-2:], self.now - timedelta(seconds=ago))

    @rule(lane=lanes, status=st.sampled_from(["RUNNING", "RUNNING", "PAUSED"]))
    def change(self, lane, status):
        campaigns = Campaign.objects.filter(pk=self.campaigns[lane].pk)
        campaigns.update(status=CampaignStatus[status])

    @rule(seconds=st.sampled_from([0.01, 0.06, 1, 6, 400, -300]))
    def wait(self, seconds):
        """The database's clock may be set back."""
        self.now += timedelta(seconds=seconds)

    def let_go(self, ids, due_at):
        CampaignMessage.objects.filter(pk__in=ids).update(
            status=QUEUED, lease_expires_at=None, due_at=due_at
        )
        self.claimed = [pk for pk in self.claimed if pk not in ids]

    def fill_lanes(self, count):
        CampaignMessage.objects.bulk_create(
            MessageFactory.build(campaign=campaign, due_at=self.now)
            for campaign in self.campaigns
            for _ in range(count)
        )

    def nothing_due_stays_behind(self):
        """Even where so much comes after it that no lane is ever exhausted."""
        Campaign.objects.update(status=CampaignStatus.RUNNING)
        self.fill_lanes(600)
        self.lock(1, 5, self.room)
        self.put_back(300)
        self.commit_late(LANES[-1], 1, 300)
        due = CampaignMessage.objects.due(self.now - TICK)
        behind = set(due.values_list("pk", flat=True))
        for _ in range(LOOK_BACK_EVERY // TICK + len(behind) + 9):
            self.now += TICK
            self.lock(1, 5, self.room)
        assert not CampaignMessage.objects.filter(pk__in=behind, status=QUEUED).exists()


def test_no_due_message_is_passed_over_for_long():
    run_machine(Traffic, examples=10)
