"""Helpers for tests of the statistics."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count

from messaging.audience.insert import enqueue as enqueue_messages
from messaging.factories import CampaignFactory, MessageFactory
from messaging.queue.receipts import record_receipts
from messaging.queue.worker import Processor
from messaging.rebuild import rebuild_statistics
from messaging.tests.scenario import NOW
from messaging.vocabulary import WorkerKind
from routing.providers.base import (
    Receipt,
)
from routing.reference import reference_for
from routing.rules.tally import Tally
from routing.statistics.entries import read_totals
from routing.vocabulary import (
    Channel,
    MessageStatus,
)

LONG_AGO = date(2025, 1, 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
event_numbers = count(1)


def enqueue(number=1, *, channel=Channel.SMS, **fields):
    """Queue messages of one campaign as the application does, and count them."""
    campaign = CampaignFactory(channel=channel)
    fields = {"due_at": NOW - HOUR} | fields
    enqueue_messages(MessageFactory.build_batch(number, campaign=campaign, **fields))


def receive(message_id, status, *, attempt=1, at=NOW, **fields):
    """Receive a receipt for an attempt."""
    provider = fields.pop("provider", "TwilioSMS")
    values = {
        "event_id": f"event-{next(event_numbers)}",
        "reference": reference_for(message_id, attempt, provider=provider),
        "external_message_id": f"SM{message_id}",
        "status": status,
        "provider_status": "as the provider puts it",
    }
    receipt = Receipt(**(values | fields))
    record_receipts(provider_name=provider, receipts=[receipt], raw="", now=at)


def total(day=None):
    """The statistics of a day, or of all days."""
    return sum((t for _, t in read_totals(first=day, last=day).tallies()), Tally())


def differences():
    """The corrections that a rebuild would make."""
    corrections = rebuild_statistics(since=LONG_AGO, is_dry_run=True)
    return [pair for each in corrections for pair in each.tallies()]


def statuses():
    """Message counts by status."""
    everything = total()
    counts = {status: everything.messages(status) for status in MessageStatus}
    return {status: number for status, number in counts.items() if number}


def drain():
    """Send what is due, as a worker."""
    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(seconds=1)).run()
