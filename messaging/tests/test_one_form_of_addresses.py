"""Addresses stored in older forms are normalised, and no opt-out is lost."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Suppression
from messaging.tests.scenario import NOW
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.models import StatisticsEntry
from routing.vocabulary import Channel, MessageStatus

pytestmark = pytest.mark.django_db
OLD, NEW = "bob@bücher.example", "bob@xn--bcher-kva.example"
OPTED_OUT, COMPLAINT = SuppressionReason.OPTED_OUT, SuppressionReason.COMPLAINT
ALL, MARKETING = SuppressionScope


def migrate():
    migration = import_module("messaging.migrations.0017_one_form_of_addresses")
    for operation in migration.Migration.operations:
        operation.code(apps, None)


def stored(address, reason=OPTED_OUT, scope=ALL):
    """A row as older versions stored it; `save` would normalise it."""
    [row] = Suppression.objects.bulk_create(
        [Suppression(address=address, reason=reason, scope=scope, source="before")]
    )
    Suppression.objects.filter(pk=row.pk).update(created_at=NOW)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([(OLD, OPTED_OUT)], (NEW, OPTED_OUT, MARKETING)),
        ([(OLD, COMPLAINT)], (NEW, COMPLAINT, ALL)),
        ([(NEW, OPTED_OUT), (OLD, COMPLAINT)], (NEW, COMPLAINT, ALL)),
        ([(OLD, OPTED_OUT), (NEW, COMPLAINT)], (NEW, COMPLAINT, ALL)),
        ([("+5215512345678", OPTED_OUT)], ("+525512345678", OPTED_OUT, ALL)),
        ([("gone@❤.example", COMPLAINT)], ("gone@❤.example", COMPLAINT, ALL)),
    ],
)
def test_a_suppression_takes_the_one_form_and_the_wider_scope(before, after, runs):
    for address, reason in before:
        stored(address, reason)

    for _ in range(runs):
        migrate()

    row = Suppression.objects.get()
    assert (row.address, row.reason, row.scope) == after
    assert (row.source, row.created_at) == ("before", NOW)


def test_what_waits_is_sent_to_one_mailbox_once():
    campaign = CampaignFactory(channel=Channel.EMAIL)
    first = MessageFactory(campaign=campaign, recipient=NEW)
    second = MessageFactory(campaign=campaign, recipient=OLD)
    elsewhere = MessageFactory(
        campaign=CampaignFactory(channel=Channel.EMAIL), recipient=OLD
    )

    migrate()

    for message in (first, second, elsewhere):
        message.refresh_from_db()
    assert (first.recipient, first.status) == (NEW, MessageStatus.QUEUED)
    assert second.status == MessageStatus.CANCELLED
    assert "same mailbox" in second.status_reason
    assert StatisticsEntry.objects.get().channel == Channel.EMAIL
    assert (elsewhere.recipient, elsewhere.status) == (NEW, MessageStatus.QUEUED)


def test_what_has_left_keeps_the_address_that_it_went_to():
    campaign = CampaignFactory(channel=Channel.EMAIL)
    sent = MessageFactory(
        campaign=campaign, recipient=OLD, status=MessageStatus.SENT, sent_at=NOW
    )

    migrate()

    sent.refresh_from_db()
    assert sent.recipient == OLD
