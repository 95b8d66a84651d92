"""The stored retry table: what is shipped, and what operators may make of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from marketing_platform.provider_settings import simulated_providers
from routing.decision.planner import RetryBook, stored_table
from routing.factories import retry_rule, shipped_retry_rules
from routing.models import RetryRule
from routing.rules.retry_table import Failure
from routing.vocabulary import Channel, ErrorClass

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
RULES = "/api/routingconfig/retries"
LIST = "admin:routing_retryrule_changelist"
OFF = Failure(Channel.SMS, "TwilioSMS", ErrorClass.HANDSET_OFF, "30003")
FULL = Failure(Channel.EMAIL, "SMTPEmail", ErrorClass.MAILBOX_FULL, "RCPT 452")
FORM = {
    "error_class": ErrorClass.PROVIDER.value,
    "code": "30017",
    "channel": "",
    "provider": "TwilioSMS",
    "delays_seconds": "10 min, 2 h",
    "is_active": "on",
    "note": "Carrier congested",
}
WIRE = {
    "errorClass": ErrorClass.PROVIDER,
    "channel": 0,
    "provider": "TwilioSMS",
    "code": "30017",
    "delaysSeconds": [600, 7200],
    "isActive": True,
    "note": "",
}


@pytest.fixture(autouse=True)
def shipped(db, settings):
    shipped_retry_rules()
    settings.MESSAGE_PROVIDERS = simulated_providers(1, public_url="http://x")


def delays(failure):
    rule = stored_table().rule(failure)
    return None if rule is None else [each.total_seconds() / 60 for each in rule.delays]


def test_a_new_installation_has_the_documented_rules_and_each_is_valid():
    for rule in RetryRule.objects.all():
        rule.full_clean()

    assert delays(OFF) == [15, 60, 12 * 60]
    assert delays(FULL) == [6 * 60, 24 * 60]
    assert delays(FULL._replace(provider="SendGridEmail")) == []
    assert delays(FULL._replace(error_class=ErrorClass.PROVIDER)) is None


def test_a_rule_that_is_switched_off_leaves_it_to_the_more_general_one():
    mine = retry_rule(60, code="30003")
    assert delays(OFF) == [1]

    RetryRule.objects.filter(pk=mine.pk).update(is_active=False)
    assert delays(OFF) == [15, 60, 12 * 60]


def test_workers_read_a_change_within_a_second():
    book = RetryBook()
    assert book.table(now=NOW).rule(OFF).delays[0] == timedelta(minutes=15)
    retry_rule(60)

    assert book.table(now=NOW).rule(OFF).delays[0] == timedelta(minutes=15)
    assert book.table(now=NOW + timedelta(seconds=1)).rule(OFF).delays == (
        timedelta(minutes=1),
    )


def test_a_rule_that_only_a_later_version_knows_stops_no_worker(caplog):
    later = retry_rule(60, code="30003")
    RetryRule.objects.filter(pk=later.pk).update(error_class=99)

    assert delays(OFF) == [15, 60, 12 * 60]
    assert f"The retry rule {later.pk} cannot be used." in caplog.text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"error_class": ErrorClass.UNKNOWN}, "may have been sent"),
        ({"error_class": ErrorClass.ACCOUNT}, "somebody mends it"),
        ({"error_class": ErrorClass.RECIPIENT}, "give the code"),
        ({"provider": "Pigeon"}, "Unknown provider"),
        ({"provider": "TwilioSMS", "channel": Channel.EMAIL}, "does not carry Email"),
        ({"delays_seconds": [0]}, "longer than 0"),
        ({"delays_seconds": [31 * 86_400]}, "at most 30 days"),
        ({"delays_seconds": [60] * 11}, "at most 10"),
        ({"delays_seconds": ["1 h"]}, "whole seconds"),
        ({"delays_seconds": "1 h"}, "whole seconds"),
        ({}, "change that one"),
    ],
)
def test_a_rule_that_cannot_be_says_why(fields, problem):
    rule = {"error_class": ErrorClass.HANDSET_OFF, "delays_seconds": [60]} | fields

    with pytest.raises(ValidationError, match=problem):
        RetryRule(**rule).full_clean()


def test_the_list_shows_the_delays_in_words(admin_client):
    page = admin_client.get(reverse(LIST)).text

    assert "15 min, 1 h, 12 h" in page
    assert "not retried" in page


def test_an_operator_writes_delays_in_words(admin_client):
    admin_client.post(reverse("admin:routing_retryrule_add"), FORM)

    rule = RetryRule.objects.get(code="30017")
    assert rule.delays_seconds == [600, 7200]
    page = admin_client.get(reverse("admin:routing_retryrule_change", args=[rule.pk]))
    assert 'value="10 min, 2 h"' in page.text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"delays_seconds": "10 min, soon"}, "&#x27;soon&#x27; is no delay"),
        ({"delays_seconds": "31 d"}, "at most 30 days"),
        ({"code": ""}, "give the code"),
        ({"error_class": ErrorClass.HANDSET_OFF, "code": "", "provider": ""}, "change"),
    ],
)
def test_what_an_operator_cannot_mean_is_refused_with_the_reason(
    admin_client, fields, problem
):
    answer = admin_client.post(reverse("admin:routing_retryrule_add"), FORM | fields)

    assert problem in answer.text


def test_a_shipped_rule_is_changed_and_switched_off(admin_client):
    shipped = RetryRule.objects.get(error_class=ErrorClass.HANDSET_OFF)
    address = reverse("admin:routing_retryrule_change", args=[shipped.pk])

    form = FORM | {"error_class": ErrorClass.HANDSET_OFF.value, "code": ""}
    admin_client.post(address, form | {"provider": "", "is_active": ""})

    assert delays(OFF) is None
    shipped.refresh_from_db()
    assert shipped.in_words == "10 min, 2 h"


def test_a_rule_is_read_changed_and_deleted_at_its_address(api):
    client = api("admin")
    made = client.post(RULES, WIRE)
    address = f"{RULES}/{made.json()['id']}"

    assert (made.status_code, made["Location"]) == (201, address)
    assert {key: made.json()[key] for key in WIRE} == WIRE
    assert client.patch(address, {"delaysSeconds": []}).json()["delaysSeconds"] == []
    assert client.put(address, WIRE | {"note": "n"}).json()["note"] == "n"
    assert [each["code"] for each in client.get(f"{RULES}?code=30017").json()] == [
        "30017"
    ]
    assert client.delete(address).status_code == 204


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"delaysSeconds": ["600"]}, "delaysSeconds[0]"),
        ({"delaysSeconds": [True]}, "delaysSeconds[0]"),
        ({"delaysSeconds": [0]}, "delaysSeconds[0]"),
        ({"delaysSeconds": [60] * 11}, "delaysSeconds"),
        ({"errorClass": ErrorClass.UNKNOWN}, "errorClass"),
        ({"code": ""}, "errorClass"),
        ({"provider": "Pigeon"}, "provider"),
        ({"errorClass": 9, "code": "", "provider": "", "channel": None}, "errorClass"),
    ],
)
def test_what_the_api_refuses_names_its_field(api, fields, field):
    answer = api("admin").post(RULES, WIRE | fields)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]
