"""The probes and the doctor, on a healthy installation and on others."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from marketing_platform.diagnosis import delivery, installation
from marketing_platform.diagnosis.findings import Level, examine, ok, span
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import BulkJob, ClusterHeartbeat, WorkerHeartbeat
from messaging.vocabulary import BulkAct, CampaignStatus, JobState, WorkerKind
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import ProviderHealth
from routing.rules.breaker import LAST_WAY_OUT, BreakerState
from routing.vocabulary import (
    Channel,
    ErrorClass,
    MessageStatus,
    UnknownOutcomePolicy,
)

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
PROVIDERS = {
    name: {"BACKEND": "routing.providers.memory.MemorySMS", "OPTIONS": {"TIMEOUT": 30}}
    for name in ("TwilioSMS", "VonageSMS")
}


def worker(*, age=timedelta(0), owner=1, **fields):
    """A worker whose last sign of life was `age` ago."""
    now = timezone.now()
    return WorkerHeartbeat.objects.create(
        owner=owner,
        kind=WorkerKind.COMMAND,
        host="sender-1",
        pid=os.getpid(),
        started_at=now - age,
        beat_at=now - age,
        **fields,
    )


def cluster(*, age=timedelta(0), is_watched=True):
    return ClusterHeartbeat.objects.create(
        host="sender-1",
        process_group=7,
        is_watched=is_watched,
        beat_at=timezone.now() - age,
    )


@pytest.fixture
def healthy(settings):
    """A worker, a route, and providers that can send."""
    settings.MESSAGE_PROVIDERS = PROVIDERS
    RouteFactory()
    worker()


def readyz(client, query=""):
    response = client.get(f"/readyz{query}", headers={"host": "10.0.0.5"})
    return response.status_code, response.json()


def level(check):
    return check(timezone.now()).level


# --- the probes --------------------------------------------------------------------


def test_healthz_needs_no_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/healthz", headers={"host": "10.0.0.5"})

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz/"])
def test_a_probe_may_come_by_ip_address_over_plain_http(
    client, settings, healthy, path
):
    settings.SECURE_SSL_REDIRECT = True

    assert client.get(path, headers={"host": "10.0.0.5"}).status_code == 200
    assert client.head(path, headers={"host": "10.0.0.5"}).status_code == 200
    assert client.post(path, headers={"host": "10.0.0.5"}).status_code == 405


def test_an_installation_that_is_well_is_ready(client, healthy):
    status, answer = readyz(client)

    assert status == 200
    assert answer["status"] == "ready"
    assert list(answer["checks"]) == [
        "database",
        "migrations",
        "workers",
        "queue",
        "receipts",
    ]
    assert {each["status"] for each in answer["checks"].values()} == {"ok"}


def test_readiness_costs_few_queries(client, healthy, django_assert_max_num_queries):
    MessageFactory()

    with django_assert_max_num_queries(17):
        readyz(client)


def test_a_cluster_that_stands_by_is_a_worker(client):
    cluster()

    assert readyz(client)[0] == 200


@pytest.mark.parametrize("age", [MINUTE, timedelta(days=2)])
def test_without_a_sign_of_life_it_is_not_ready(client, age):
    worker(age=age)
    cluster(age=age + MINUTE)

    status, answer = readyz(client)

    assert (status, answer["status"]) == (503, "not ready")
    assert answer["checks"]["workers"]["status"] == "fail"


def test_a_web_host_may_leave_the_workers_out(client):
    assert readyz(client, "?exclude=workers&exclude=queue")[0] == 200


def test_a_check_that_does_not_exist_cannot_be_left_out(client):
    status, answer = readyz(client, "?exclude=worker")

    assert status == 400
    assert "database, migrations, workers, queue" in answer["detail"]


def test_messages_that_wait_while_none_leaves_are_a_failure(client, healthy):
    MessageFactory(due_at=timezone.now() - 10 * MINUTE)

    status, answer = readyz(client)

    assert status == 503
    assert "has waited for 10 min" in answer["checks"]["queue"]["detail"]


def test_a_long_queue_that_moves_is_none(client, healthy):
    MessageFactory(due_at=timezone.now() - 10 * MINUTE)
    AttemptFactory(message=MessageFactory(), attempted_at=timezone.now())

    status, answer = readyz(client)

    assert status == 200
    assert "messages are sent" in answer["checks"]["queue"]["detail"]


def test_a_channel_of_which_nothing_leaves_is_told_beside_a_busy_one(client, healthy):
    due_at = timezone.now() - 10 * MINUTE
    for channel in (Channel.SMS, Channel.EMAIL):
        MessageFactory(campaign=CampaignFactory(channel=channel), due_at=due_at)
    AttemptFactory(message=MessageFactory(), attempted_at=timezone.now())

    status, answer = readyz(client)

    assert (status, answer["checks"]["queue"]["status"]) == (200, "warn")
    assert "due on Email (for 10 min)" in answer["checks"]["queue"]["detail"]


def test_a_migration_that_is_missing_is_named_and_ends_the_checks(client, healthy):
    MigrationRecorder.Migration.objects.filter(app="sessions").delete()

    status, answer = readyz(client)

    assert status == 503
    assert "sessions.0001_initial" in answer["checks"]["migrations"]["detail"]
    assert list(answer["checks"]) == ["database", "migrations"]


def test_a_database_that_does_not_answer_is_told_without_its_secrets(client):
    def refuse(execute, *_):
        raise OperationalError("FATAL: password authentication failed for user joe")

    with connection.execute_wrapper(refuse):
        status, answer = readyz(client)

    assert status == 503
    assert list(answer["checks"]) == ["database"]
    assert "joe" not in json.dumps(answer)


# --- the doctor --------------------------------------------------------------------


def doctor(*arguments):
    """The exit status and the output."""
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def test_the_doctor_finds_nothing_wrong_with_an_installation_that_is_well(healthy):
    status, text = doctor()

    assert status == 0
    assert "->" not in text


def test_the_doctor_says_what_fails_and_what_to_do(healthy):
    WorkerHeartbeat.objects.all().delete()

    status, text = doctor()

    assert status == 1
    assert "fail  workers: No worker is running." in text
    assert "-> Start `python manage.py run_cluster`" in text


def test_the_doctor_tells_warnings_by_another_status_and_in_json(healthy):
    cluster(is_watched=False)

    status, text = doctor("--json")

    report = json.loads(text)
    (warning,) = [each for each in report["findings"] if each["level"] != "ok"]
    assert (status, report["level"], warning["check"]) == (3, "warn", "cluster")
    assert "run_cluster" in warning["remedy"]


def test_checks_end_with_one_that_makes_the_others_useless():
    def broken(now):
        raise OperationalError

    findings = examine({"a": ok_check, "b": broken, "c": ok_check}, clock=timezone.now)

    assert list(findings) == ["a", "b"]


def ok_check(now):
    return ok("Fine.")


# --- each of its checks ------------------------------------------------------------


def test_a_cluster_that_fell_silent_fails_until_it_was_surely_taken_away():
    heartbeat = cluster(age=5 * MINUTE)
    assert level(delivery.cluster) == Level.FAIL

    heartbeat.beat_at -= timedelta(hours=2)
    heartbeat.save()
    assert level(delivery.cluster) == Level.OK


def test_two_workers_on_sqlite_are_one_too_many():
    worker(owner=1)
    assert level(delivery.one_writer) == Level.OK

    worker(owner=2)
    is_alone = connection.vendor == "sqlite"
    assert level(delivery.one_writer) == (Level.WARN if is_alone else Level.OK)


def test_a_worker_whose_clock_is_off_is_named():
    worker(clock_skew=-MINUTE)

    found = delivery.clocks(timezone.now())

    assert found.level == Level.WARN
    assert "sender-1 is -60.0 s" in found.text


def test_a_lease_that_nobody_swept_fails():
    MessageFactory(
        status=MessageStatus.SENDING, lease_expires_at=timezone.now() - 2 * MINUTE
    )

    assert level(delivery.leases) == Level.FAIL


def test_what_waits_its_turn_for_a_look_up_is_not_stuck(settings):
    settings.MESSAGE_PROVIDERS = {
        name: {**definition, "OPTIONS": {"SETTLING_SECONDS": 60}}
        for name, definition in PROVIDERS.items()
    }
    message = MessageFactory(
        status=MessageStatus.SENDING,
        provider="TwilioSMS",
        unknown_since=timezone.now() - 10 * MINUTE,
        lease_expires_at=timezone.now() - 2 * MINUTE,
    )
    assert level(delivery.leases) == Level.OK

    message.unknown_since -= timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
    message.save()

    assert level(delivery.leases) == Level.FAIL


@pytest.mark.parametrize(
    ("provider", "becomes"),
    [
        ("TwilioSMS", "each is looked up until 14:05 UTC, then fails (route 1 waits)"),
        ("Gone", "each waits for a receipt until 14:05 UTC, then fails"),
    ],
)
def test_it_is_said_what_becomes_of_unknown_outcomes_and_when(
    settings, provider, becomes
):
    settings.QUEUE_VERDICT_SECONDS = 3600
    settings.MESSAGE_PROVIDERS = {
        name: {**definition, "OPTIONS": {"SETTLING_SECONDS": 60}}
        for name, definition in PROVIDERS.items()
    }
    RouteFactory(pk=1)
    RouteFactory(pk=2, unknown_outcome_policy=UnknownOutcomePolicy.RESEND)
    now = datetime(2030, 1, 31, 13, 30, tzinfo=UTC)
    for _ in range(2):
        MessageFactory(
            status=MessageStatus.SENDING,
            provider=provider,
            unknown_since=now - 25 * MINUTE,
            lease_expires_at=now + MINUTE,
        )

    found = delivery.unknown_outcomes(now)

    assert found.level == Level.WARN
    assert found.text == f"2 messages of unknown outcome at {provider}: {becomes}."


def test_messages_in_quarantine_are_counted():
    assert level(delivery.quarantine) == Level.OK

    MessageFactory(status=MessageStatus.FAILED, quarantined_at=timezone.now())
    assert level(delivery.quarantine) == Level.WARN


def test_error_codes_that_no_table_has_are_listed():
    for _ in range(2):
        AttemptFactory(
            message=MessageFactory(),
            attempted_at=timezone.now(),
            error_class=ErrorClass.UNMAPPED,
            error_code="31337",
        )

    ReceiptFactory(
        message=MessageFactory(),
        received_at=timezone.now(),
        error_class=ErrorClass.UNMAPPED,
        error_code="31337",
    )

    found = delivery.unmapped_errors(timezone.now())

    assert found.level == Level.WARN
    assert "TwilioSMS 31337 (3)" in found.text


def test_providers_that_refuse_our_account_are_named():
    assert level(delivery.account_errors) == Level.OK
    AttemptFactory(
        message=MessageFactory(),
        attempted_at=timezone.now(),
        error_class=ErrorClass.ACCOUNT,
        error_code="20003",
    )

    found = delivery.account_errors(timezone.now())

    assert found.level == Level.WARN
    assert "TwilioSMS 20003 (1)" in found.text


def test_messages_that_may_have_come_twice_are_counted_for_a_week():
    message = MessageFactory(
        status=MessageStatus.SENT, double_risk_at=timezone.now() - timedelta(days=6)
    )
    assert level(delivery.possible_duplicates) == Level.WARN

    message.double_risk_at -= timedelta(days=2)
    message.save()
    assert level(delivery.possible_duplicates) == Level.OK


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0, "0 s"), (90, "90 s"), (300, "5 min"), (10_800, "3 h"), (345_600, "4 days")],
)
def test_durations_are_told_as_people_do(seconds, says):
    assert span(timedelta(seconds=seconds)) == says


def test_a_provider_out_of_traffic_is_named():
    ProviderHealth.objects.create(
        provider="TwilioSMS",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=timezone.now() + MINUTE,
    )

    found = delivery.breakers(timezone.now())

    assert found.level == Level.WARN
    assert "TwilioSMS on SMS" in found.text


@pytest.mark.parametrize(
    ("fallback", "expected", "where"),
    [
        ("VonageSMS", Level.WARN, "traffic goes to VonageSMS"),
        ("", Level.FAIL, "no other provider may be used"),
    ],
)
def test_a_provider_out_of_use_is_red_only_if_no_other_carries_its_traffic(
    settings, fallback, expected, where
):
    settings.MESSAGE_PROVIDERS = {
        name: {"BACKEND": "routing.providers.memory.MemorySMS", "OPTIONS": {}}
        for name in ("TwilioSMS", "VonageSMS")
    }
    RouteFactory(fallback_provider=fallback, enable_fallback=bool(fallback))
    ProviderHealth.objects.create(
        provider="TwilioSMS", channel=Channel.SMS, state=BreakerState.OPEN
    )

    found = delivery.breakers(timezone.now())

    assert found.level == expected
    assert where in found.text


def test_a_provider_that_fails_with_no_other_left_is_worse():
    ProviderHealth.objects.create(
        provider="VonageSMS",
        channel=Channel.SMS,
        reason=f"9 failures in a row; {LAST_WAY_OUT}",
    )

    found = delivery.breakers(timezone.now())

    assert found.level == Level.FAIL
    assert "VonageSMS on SMS: in use (9 failures in a row" in found.text


def test_a_paused_campaign_counts_once_messages_of_it_are_due():
    campaign = CampaignFactory(status=CampaignStatus.PAUSED, name="Autumn sale")
    assert level(delivery.paused_campaigns) == Level.OK

    MessageFactory(campaign=campaign)
    assert "Autumn sale" in delivery.paused_campaigns(timezone.now()).text


def test_bulk_jobs_are_named_that_failed_or_that_nobody_begins():
    now = timezone.now()
    why = {"act": BulkAct.RETRY, "reason": "x", "asked_by": "ada", "count": 7}
    BulkJob.objects.create(**why)
    assert level(delivery.bulk_jobs) == Level.OK

    BulkJob.objects.create(asked_at=now - timedelta(minutes=6), **why)
    BulkJob.objects.create(
        state=JobState.FAILED, finished_at=now, error="ValueError: no", **why
    )

    found = delivery.bulk_jobs(now)
    assert found.level == Level.WARN
    assert "Retry: 7 messages): not begun" in found.text
    assert "Retry: 7 messages): ValueError: no" in found.text


def test_a_route_whose_providers_all_lack_credentials_fails(settings):
    settings.MESSAGE_PROVIDERS = {
        "TwilioSMS": {"BACKEND": "routing.providers.twilio.TwilioSMS"}
    }
    RouteFactory(fallback_provider="", enable_fallback=False)

    found = installation.routes(timezone.now())

    assert found.level == Level.FAIL
    assert "TwilioSMS is not configured" in found.text


def test_a_route_that_names_a_provider_which_is_gone_is_a_warning(settings):
    settings.MESSAGE_PROVIDERS = PROVIDERS
    RouteFactory(fallback_provider="VonageSMS")
    settings.MESSAGE_PROVIDERS = {"TwilioSMS": PROVIDERS["TwilioSMS"]}

    found = installation.routes(timezone.now())

    assert found.level == Level.WARN
    assert "Unknown provider 'VonageSMS'" in found.text


def test_no_route_at_all_fails():
    assert level(installation.routes) == Level.FAIL


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("debug", {"DEBUG": True, "PUBLIC_URL": "https://messages.example.com"}),
        ("leases_and_deadlines", {"QUEUE_LEASE_SECONDS": 30}),
        ("task_queue", {"Q_CLUSTER": {"retry": 100, "timeout": 120}}),
        ("task_queue", {"Q_CLUSTER": {"retry": 100, "timeout": 50}}),
    ],
)
def test_a_setting_that_hurts_fails(settings, check, change):
    settings.MESSAGE_PROVIDERS = PROVIDERS
    assert level(installation.SETTINGS[check]) == Level.OK

    for name, value in change.items():
        setattr(settings, name, value)
    assert level(installation.SETTINGS[check]) == Level.FAIL
