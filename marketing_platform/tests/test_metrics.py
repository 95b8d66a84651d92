"""The metrics for Prometheus, in its own format."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from marketing_platform.diagnosis.metrics import Metric, Sample, exposition, metrics
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import ClusterHeartbeat, WorkerHeartbeat
from messaging.vocabulary import CampaignStatus, WorkerKind
from routing.factories import AttemptFactory
from routing.models import ProviderHealth
from routing.rules.breaker import BreakerState
from routing.rules.tally import TallySheet
from routing.statistics.entries import save_counts
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LINE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[\d.e+-]+')


def exposed(name):
    """The exposed samples of a metric."""
    lines = exposition(metrics(NOW)).splitlines()
    return [line for line in lines if re.match(rf"{name}[ {{]", line)]


def test_each_line_is_one_that_prometheus_reads():
    MessageFactory(due_at=NOW)
    ProviderHealth.objects.create(provider="TwilioSMS", channel=Channel.SMS)

    lines = exposition(metrics(NOW)).splitlines()

    samples = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in samples)
    assert len([line for line in lines if line.startswith("# TYPE")]) >= 7


def test_labels_are_escaped():
    metric = Metric("g", "What it is.", [Sample(1.5, {"a": 'x"y\\z\n'})])

    assert exposition([metric]).splitlines()[-1] == 'g{a="x\\"y\\\\z\\n"} 1.5'


def test_due_messages_are_told_by_channel_and_by_who_has_waited_longest():
    MessageFactory(due_at=NOW - 2 * MINUTE)
    MessageFactory(due_at=NOW + MINUTE)
    MessageFactory(campaign=CampaignFactory(status=CampaignStatus.PAUSED), due_at=NOW)

    assert exposed("messages_due") == [
        'messages_due{channel="SMS"} 1',
        'messages_due{channel="MMS"} 0',
        'messages_due{channel="Email"} 0',
    ]
    assert exposed("messages_oldest_due_seconds") == ["messages_oldest_due_seconds 120"]


def test_messages_under_way_are_told_from_those_that_nobody_knows_of():
    for unknown_since in (None, None, NOW):
        MessageFactory(
            status=MessageStatus.SENDING,
            lease_expires_at=NOW + MINUTE,
            unknown_since=unknown_since,
        )

    assert exposed("messages_sending") == [
        'messages_sending{outcome="in flight"} 2',
        'messages_sending{outcome="unknown"} 1',
    ]


def test_workers_clusters_and_breakers_are_told():
    WorkerHeartbeat.objects.create(
        owner=1, kind=WorkerKind.COMMAND, host="h", pid=1, started_at=NOW, beat_at=NOW
    )
    ClusterHeartbeat.objects.create(
        host="h", process_group=7, is_watched=True, beat_at=NOW - MINUTE
    )
    ProviderHealth.objects.create(
        provider="TwilioSMS", channel=Channel.SMS, state=BreakerState.OPEN
    )

    assert 'workers_alive{kind="Command"} 1' in exposed("workers_alive")
    (age,) = exposed("cluster_heartbeat_age_seconds")
    assert age == 'cluster_heartbeat_age_seconds{host="h",process_group="7"} 60'
    (breaker,) = exposed("provider_breaker_open")
    assert breaker == 'provider_breaker_open{provider="TwilioSMS",channel="SMS"} 1'


def test_attempts_of_today_are_counted_by_provider_and_outcome():
    sheet = TallySheet()
    for outcome in (AttemptOutcome.ACCEPTED, AttemptOutcome.ACCEPTED):
        sheet.count_attempt(attempt(outcome, NOW))
    sheet.count_attempt(attempt(AttemptOutcome.REJECTED, NOW - timedelta(days=1)))
    save_counts(sheet)

    assert exposed("delivery_attempts_total") == [
        'delivery_attempts_total{provider="TwilioSMS",outcome="Accepted"} 2'
    ]


def attempt(outcome, at):
    """The columns of an attempt that are counted."""
    made = AttemptFactory.build(outcome=outcome, attempted_at=at)
    return vars(made)


def test_prometheus_gets_them_with_an_administrators_token(api):
    response = api("admin").get(
        "/metrics",
        headers={"accept": "application/openmetrics-text;q=0.9,text/plain,*/*;q=0.1"},
    )

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"messages_oldest_due_seconds 0" in response.content
