"""What benchmarks write by hand fits the tables as they are."""

from __future__ import annotations

import pytest
from django.db import connection

from benchmarks import reference
from benchmarks.stage import queue
from messaging.models import CampaignMessage
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import Channel, MessageStatus


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("channel", [Channel.SMS, Channel.EMAIL])
def test_a_backlog_is_as_long_as_was_asked_for(channel):
    campaign = queue(30, channel=channel)

    assert campaign.messages.values("recipient").distinct().count() == 30


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("sqlite" in connection.vendor, reason="It speaks PostgreSQL only.")
def test_the_bare_reference_claims_and_records_what_is_due():
    campaign = queue(30)
    with connection.cursor() as cursor:
        cursor.execute(reference.CLAIM, [campaign.pk, 50])
        ids = [id_ for id_, _ in cursor.fetchall()]
        cursor.execute(reference.RECORD, [ids, [f"SM{id_}" for id_ in ids]])

    assert MessageDeliveryAttempt.objects.count() == len(ids) == 30
    assert not CampaignMessage.objects.exclude(status=MessageStatus.SENT).exists()
