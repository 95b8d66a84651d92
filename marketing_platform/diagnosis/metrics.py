"""/metrics: the state of the queue and the providers, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.db.models import Count
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from marketing_platform.diagnosis.receipts import providers_without_receipts
from messaging.models import (
    Campaign,
    CampaignMessage,
    ClusterHeartbeat,
    WorkerHeartbeat,
)
from messaging.queue.coordination import database_now
from messaging.queue_status import oldest_due_at
from messaging.vocabulary import WorkerKind
from routing.decision.readiness import current_outages
from routing.health.pauses import pauses_in_force
from routing.models import DeliveryReceipt, ProviderHealth
from routing.providers.registry import registry
from routing.receipts.inbox import inbox_status
from routing.receipts.webhook_counts import webhook_calls
from routing.rules.breaker import BreakerState
from routing.rules.outage import every_terms
from routing.rules.tally import day_of
from routing.statistics.entries import read_totals
from routing.vocabulary import AttemptOutcome, Channel

INBOX_COUNTED_TO = 1_000_000
ONE_MINUTE = timedelta(minutes=1)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with its labels."""

    value: float
    labels: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure: a gauge goes up and down, a counter grows and sometimes restarts."""

    name: str
    meaning: str
    samples: list[Sample]
    kind: str = "gauge"


class MetricsView(APIView):
    """For Prometheus: `authorization: {credentials: mp_...}` in its scrape config."""

    required_scope = "monitor"
    schema = None  # not part of the REST API

    def get(self, request: Request) -> HttpResponse:
        """All metrics."""
        text = exposition(metrics(database_now()))
        return HttpResponse(text, content_type=CONTENT_TYPE)


def metrics(now: datetime) -> Iterator[Metric]:
    """All metrics, as of now."""
    yield _due(now)
    oldest = oldest_due_at(now)
    yield Metric(
        "messages_oldest_due_seconds",
        "How long the oldest due message has been waiting.",
        [Sample((now - oldest).total_seconds() if oldest else 0.0, {})],
    )
    yield _sending()
    yield Metric(
        "messages_quarantined",
        "Messages taken out of the queue because they crashed their workers.",
        [Sample(CampaignMessage.objects.quarantined().count(), {})],
    )
    yield _workers(now)
    yield Metric(
        "cluster_heartbeat_age_seconds",
        "Time since a task last went through a django-q2 cluster.",
        [
            Sample(
                (now - each.beat_at).total_seconds(),
                {"host": each.host, "process_group": each.process_group},
            )
            for each in ClusterHeartbeat.objects.all()
        ],
    )
    yield _breakers()
    yield _paused(now)
    yield _on_hold(now)
    yield _attempts(now)
    yield _webhook_calls(now)
    yield from _inbox(now)
    yield _without_receipt(now)


def exposition(metrics: Iterable[Metric]) -> str:
    """The text format: https://prometheus.io/docs/instrumenting/exposition_formats/"""
    lines: list[str] = []
    for metric in metrics:
        lines += [
            f"# HELP {metric.name} {metric.meaning}",
            f"# TYPE {metric.name} {metric.kind}",
            *(
                f"{metric.name}{_labels(each)} {each.value:g}"
                for each in metric.samples
            ),
        ]
    return "\n".join([*lines, ""])


def _due(now: datetime) -> Metric:
    """Counted row by row in the index: about 0.1 s for a million."""
    due = CampaignMessage.objects.due(now).filter(
        campaign__in=Campaign.objects.running()
    )
    counts = dict(due.order_by().values_list("channel").annotate(Count("pk")))
    return Metric(
        "messages_due",
        "Messages of running campaigns that may be sent now.",
        [
            Sample(counts.get(each.value, 0), {"channel": each.label})
            for each in Channel
        ],
    )


def _sending() -> Metric:
    unknown = CampaignMessage.objects.outcome_unknown().count()
    sending = CampaignMessage.objects.sending().count()
    return Metric(
        "messages_sending",
        "Messages that a provider has, or may have.",
        [
            Sample(sending - unknown, {"outcome": "in flight"}),
            Sample(unknown, {"outcome": "unknown"}),
        ],
    )


def _workers(now: datetime) -> Metric:
    alive = WorkerHeartbeat.objects.alive(now).order_by()
    counts = dict(alive.values_list("kind").annotate(Count("pk")))
    return Metric(
        "workers_alive",
        "Processes that drain the queue now.",
        [
            Sample(counts.get(each.value, 0), {"kind": each.label})
            for each in WorkerKind
        ],
    )


def _breakers() -> Metric:
    return Metric(
        "provider_breaker_open",
        "1: the provider is out of use; 0.5: it is being tried again; 0: in use.",
        [
            Sample(
                BREAKER_VALUES[BreakerState(row.state)],
                {"provider": row.provider, "channel": row.get_channel_display()},
            )
            for row in ProviderHealth.objects.all()
        ],
    )


def _paused(now: datetime) -> Metric:
    paused = pauses_in_force(now=now)
    return Metric(
        "provider_paused",
        "1: a person has paused the provider; 0: otherwise.",
        [
            Sample(int(name in paused), {"provider": name, "channel": channel.label})
            for channel in Channel
            for name in registry.names(channel)
        ],
    )


def _on_hold(now: datetime) -> Metric:
    out = current_outages(now=now)
    return Metric(
        "messages_on_hold",
        "1: no provider may be used for such messages: they wait; 0: otherwise.",
        [
            Sample(
                int(terms in out),
                {"channel": terms.channel.label, "kind": terms.kind.label},
            )
            for terms in every_terms()
        ],
    )


def _attempts(now: datetime) -> Metric:
    counts: dict[tuple[str, str], int] = {}
    for key, tally in read_totals(first=day_of(now)).tallies():
        for outcome in AttemptOutcome:
            name = (key.provider, outcome.label)
            counts[name] = counts.get(name, 0) + tally.outcome(outcome)
    return Metric(
        "delivery_attempts_total",
        "Attempts since midnight UTC, by outcome.",
        [
            Sample(count, {"provider": provider, "outcome": outcome})
            for (provider, outcome), count in counts.items()
            if count
        ],
        kind="counter",
    )


def _webhook_calls(now: datetime) -> Metric:
    midnight = datetime.combine(day_of(now), time.min, UTC)
    return Metric(
        "webhook_calls_total",
        "Webhook calls of providers since midnight UTC, by outcome.",
        [
            Sample(
                each.calls,
                {"provider": each.kind.provider, "outcome": each.kind.outcome.label},
            )
            for each in webhook_calls(since=midnight)
        ],
        kind="counter",
    )


def _inbox(now: datetime) -> Iterator[Metric]:
    status = inbox_status(at_most=INBOX_COUNTED_TO)
    oldest = status.oldest_received_at
    yield Metric(
        "receipts_waiting",
        "Stored receipts by what they wait for: a worker, or a person.",
        [
            Sample(status.waiting, {"for": "worker"}),
            Sample(status.set_aside, {"for": "person"}),
        ],
    )
    yield Metric(
        "receipts_oldest_waiting_seconds",
        "How long the oldest receipt has been waiting to be applied.",
        [Sample((now - oldest).total_seconds() if oldest else 0.0, {})],
    )
    lately = DeliveryReceipt.objects.filter(received_at__gt=now - ONE_MINUTE)
    yield Metric(
        "receipts_applied_per_second",
        "Receipts applied per second, over the last minute.",
        [Sample(lately.count() / ONE_MINUTE.total_seconds(), {})],
    )


def _without_receipt(now: datetime) -> Metric:
    return Metric(
        "messages_without_receipt",
        "Messages sent a while ago by a provider that has sent no receipt since.",
        [
            Sample(each.messages, {"provider": each.provider})
            for each in providers_without_receipts(now)
        ],
    )


BREAKER_VALUES = {
    BreakerState.CLOSED: 0.0,
    BreakerState.HALF_OPEN: 0.5,
    BreakerState.OPEN: 1.0,
}


def _labels(sample: Sample) -> str:
    if not sample.labels:
        return ""
    listed = ",".join(f'{name}="{_escaped(v)}"' for name, v in sample.labels.items())
    return f"{{{listed}}}"


def _escaped(value: object) -> str:
    text = str(value).replace("\\", r"\\").replace('"', r"\"")
    return text.replace("\n", r"\n")
