"""Chores must not keep workers from sending."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone

from messaging.models import CampaignMessage
from messaging.queue.look_ups import LookUps
from messaging.queue.sweep import Sweep
from messaging.tests.scenario import LEASE, NOW, claim, messages, statements_of
from messaging.tests.test_processor import drain
from routing.decision.planner import RoutingTable
from routing.models import StatisticsEntry
from routing.vocabulary import Channel, MessageStatus

pytestmark = pytest.mark.django_db
CONTEXT = {"lease": LEASE, "verdict_wait": timedelta(hours=1)}


def test_a_chore_that_fails_keeps_no_message_from_leaving(route, caplog):
    messages(1)
    for _ in range(2):
        StatisticsEntry.objects.create(
            day=NOW, channel=Channel.SMS, provider="", tally={"attempts": None}
        )

    drain()

    assert CampaignMessage.objects.get().status == MessageStatus.SENT
    assert "The chore compact_entries failed" in caplog.text


def test_a_worker_looks_again_at_what_waits_for_quiet_hours_that_are_gone(route):
    (message,) = messages(
        1,
        due_at=timezone.now() + timedelta(hours=8),
        status_reason="Quiet hours until 08:00 in Europe/Berlin.",
    )

    drain()

    message.refresh_from_db()
    assert message.status == MessageStatus.SENT


def test_while_nothing_is_left_to_do_chores_only_read(route):
    messages(1)
    claim()
    routes = RoutingTable()
    sweep = Sweep(**CONTEXT, routes=routes, rng=Random(0), now=NOW)
    look_ups = LookUps(**CONTEXT, routes=routes, owner=1)

    statements = statements_of(lambda: (sweep.run(now=NOW), look_ups.begin(now=NOW)))

    texts = [text.strip() for text, _ in statements]
    assert all(text.startswith("SELECT") for text in texts)
    assert not any("FOR UPDATE" in text for text in texts)
