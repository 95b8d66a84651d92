"""Searches of the back office: by whole values, each by an index."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent, Door
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, Suppression
from messaging.vocabulary import SuppressionReason
from routing.admin.bases import ExactSearch
from routing.admin.evidence import attempts_by
from routing.factories import AttemptFactory
from routing.models import DeliveryReceipt, InboundMessage, MessageDeliveryAttempt

pytestmark = pytest.mark.django_db
ADA = "+4915112345678"
ROWS = 2000
SEARCHED = [
    AuditEvent,
    CampaignMessage,
    DeliveryReceipt,
    InboundMessage,
    MessageDeliveryAttempt,
    Suppression,
]
# Few rows, or few enough to read at each search.
READ_WHOLE = {"Group", "User", "ApiToken", "Campaign", "Rate", "Failure", "Success"}


def found(client, model, term):
    address = reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    )
    return list(client.get(address, {"q": term}).context["cl"].result_list)


@pytest.fixture
def to_ada():
    message = MessageFactory(recipient=ADA)
    MessageFactory.create_batch(2)
    attempt = AttemptFactory(
        message=message, provider="TwilioSMS", external_message_id="SM0a1B"
    )
    return message, attempt


@pytest.mark.parametrize(
    "typed",
    [
        ADA,
        " +49 151 12345678 ",
        "+49 (151) 1234-5678",
        "0049 151 12345678",
        "4915112345678",
        "SM0a1B",
    ],
)
def test_a_message_is_found_by_its_number_in_any_spelling_and_by_its_providers_id(
    admin_client, to_ada, typed
):
    assert found(admin_client, CampaignMessage, typed) == [to_ada[0]]


def test_a_message_is_found_by_its_mailbox_however_its_letters_are_written(
    admin_client,
):
    message = MessageFactory(recipient="ann@example.com")

    assert found(admin_client, CampaignMessage, "Ann@EXAMPLE.com") == [message]


def test_an_attempt_is_found_by_its_message_and_by_its_providers_id(
    admin_client, to_ada
):
    message, attempt = to_ada

    for typed in (f"{message.pk}", "SM0a1B"):
        assert found(admin_client, MessageDeliveryAttempt, typed) == [attempt]
    assert found(admin_client, MessageDeliveryAttempt, "9" * 30) == []


def test_a_receipt_is_found_whether_or_not_its_message_is_ours(admin_client, to_ada):
    message, _ = to_ada
    ours = receipt(1, message=message, external_message_id="SM0a1B")
    others = receipt(2, external_message_id="SM-other")

    assert found(admin_client, DeliveryReceipt, "SM0a1B") == [ours]
    assert found(admin_client, DeliveryReceipt, "SM-other") == [others]


def receipt(number, **fields):
    return DeliveryReceipt.objects.create(
        provider="TwilioSMS",
        event_id=f"E{number}",
        provider_status="sent",
        received_at=timezone.now(),
        **fields,
    )


@pytest.fixture
def many():
    """Enough rows that the database prefers an index."""
    now, campaign = timezone.now(), CampaignFactory()
    numbers = [f"+4915{number:09d}" for number in range(ROWS)]
    messages = CampaignMessage.objects.bulk_create(
        MessageFactory.build(id=None, campaign=campaign, recipient=each)
        for each in numbers
    )
    MessageDeliveryAttempt.objects.bulk_create(
        AttemptFactory.build(message=each, external_message_id=f"SM{each.pk}")
        for each in messages
    )
    DeliveryReceipt.objects.bulk_create(
        DeliveryReceipt(
            provider="TwilioSMS", event_id=f"{each.pk}", message=each, received_at=now
        )
        for each in messages
    )
    Suppression.objects.bulk_create(
        Suppression(address=each, reason=SuppressionReason.MANUAL) for each in numbers
    )
    InboundMessage.objects.bulk_create(
        InboundMessage(provider="X", event_id=each, sender=each, received_at=now)
        for each in numbers
    )
    AuditEvent.objects.bulk_create(
        AuditEvent(door=Door.API, actor=each, object_type="x", object_id=each)
        for each in numbers
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def test_each_search_is_served_by_an_index(many):
    plans = {
        (model, term): found_by_plan(model, term)
        for model in SEARCHED
        for term in ("+4915000000007", "7", "SM7")
    }
    plans[MessageDeliveryAttempt, "attempts"] = attempts_by("SM7").explain()

    assert {key: plan for key, plan in plans.items() if reads_all(key[0], plan)} == {}


def found_by_plan(model, term):
    search = admin.site._registry[model].get_search_results
    rows, _ = search(None, model.objects.all(), term)
    return rows.order_by("-pk")[:50].explain()


def reads_all(model, plan):
    if connection.vendor == "sqlite" or not plan:  # nothing to look for
        return f"SCAN {model._meta.db_table}" in plan
    return f"Seq Scan on {model._meta.db_table}" in plan or "Index Cond" not in plan


def test_no_other_list_is_searched_by_reading_all_of_it():
    others = {
        each.model.__name__
        for each in admin.site._registry.values()
        if each.search_fields and not isinstance(each, ExactSearch)
    }

    assert others == READ_WHOLE
