"""The server's time for each page of the back office, with a million messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from statistics import median

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Mod
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks.copies import copy_to_all
from benchmarks.rows import Row, progress
from benchmarks.stage import queue, tidy
from messaging.admin.jobs import act_address
from messaging.models import CampaignMessage
from messaging.vocabulary import BulkAct, CampaignStatus
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

SENT, WAITING = 900_000, 100_000
FAILED_EACH = 50  # of the messages sent, one in so many failed
READS = 5
BAR = 300.0  # ms
EVERYTHING_IS_COUNTED = 2000.0  # ms, for a page that must show a true count


def run() -> Iterator[Row]:
    """Each page, the median of some reads after a first one."""
    _fill()
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("benchmark"))
    for name, (path, bar) in _paths().items():
        yield Row(f"{name}", _read_ms(client, path), "ms", bar=bar, is_most=True)


def _paths() -> dict[str, tuple[str, float]]:
    message = CampaignMessage.objects.filter(status=MessageStatus.FAILED).order_by("id")
    failed = message.select_related("campaign")[0]
    listed = reverse("admin:messaging_campaignmessage_changelist")
    day_ago = (timezone.now() - timedelta(days=1)).isoformat()
    pages = {
        "front page": reverse("admin:index"),
        "messages": listed,
        "messages that failed": f"{listed}?status__exact={MessageStatus.FAILED:d}",
        "messages of a provider": f"{listed}?provider=TwilioSMS",
        "messages to a number": f"{listed}?q=00{failed.recipient[1:]}",
        "messages by the provider's id": f"{listed}?q=SM{failed.pk}",
        "a message": reverse(
            "admin:messaging_campaignmessage_change", args=[failed.pk]
        ),
        "campaigns": reverse("admin:messaging_campaign_changelist"),
        "a campaign": reverse(
            "admin:messaging_campaign_change", args=[failed.campaign_id]
        ),
        "attempts": reverse("admin:routing_messagedeliveryattempt_changelist"),
        "providers": reverse("admin:routing_providers"),
        "routes": reverse("admin:routing_channelroutingconfig_changelist"),
        "statistics": reverse("admin:routing_statisticsentry_changelist"),
    }
    counted = {
        "retry all failed of a campaign of 900,000": act_address(
            BulkAct.RETRY, campaign=failed.campaign_id
        ),
        "retry what failed today for one reason": act_address(
            BulkAct.RETRY, since=day_ago, error=ErrorClass.RECIPIENT.value, code="21211"
        ),
    }
    return {name: (path, BAR) for name, path in pages.items()} | {
        name: (path, EVERYTHING_IS_COUNTED) for name, path in counted.items()
    }


def _read_ms(client: Client, path: str) -> float:
    _read(client, path)
    return median(_read(client, path) for _ in range(READS)) * 1000


def _read(client: Client, path: str) -> float:
    started = time.perf_counter()
    answer = client.get(path)
    seconds = time.perf_counter() - started
    assert answer.status_code == 200, (path, answer.status_code)
    return seconds


def _fill() -> None:
    """A campaign that was sent today, with some failures, and one that waits."""
    progress(f"creating {SENT:,} messages with an attempt each, and {WAITING:,}")
    campaign = queue(SENT, status=CampaignStatus.COMPLETED)
    now = timezone.now()
    messages = CampaignMessage.objects.filter(campaign=campaign)
    messages.update(
        status=MessageStatus.SENT, sent_at=now, provider="TwilioSMS", attempt_count=1
    )
    lost = messages.annotate(turn=Mod(F("id"), FAILED_EACH)).filter(turn=0)
    lost.update(status=MessageStatus.FAILED, finished_at=now, sent_at=None)
    first = MessageDeliveryAttempt.objects.create(
        message=messages.order_by("id")[0],
        attempt_number=1,
        channel=Channel.SMS,
        provider="TwilioSMS",
        attempted_at=now,
        outcome=AttemptOutcome.ACCEPTED,
        external_message_id=f"SM{messages.order_by('id')[0].pk}",
    )
    copy_to_all(first, campaign, external_message_id="'SM' || m.id")
    failures = MessageDeliveryAttempt.objects.filter(
        message__status=MessageStatus.FAILED
    )
    failures.update(
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.RECIPIENT,
        error_code="21211",
    )
    queue(WAITING)
    call_command("rebuild_stats", stdout=StringIO())
    tidy()
