"""A provider that a person pauses gets no messages, and nothing fails for it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from marketing_platform.diagnosis.delivery import outages, paused_providers
from marketing_platform.diagnosis.findings import Level
from marketing_platform.diagnosis.metrics import exposition, metrics
from messaging.models import CampaignMessage
from messaging.queue_status import Outages
from messaging.tests.scenario import MINUTE, NOW, messages, statements_of
from messaging.tests.test_outages import FAILURES, HOUR, SECOND, Workers, statuses
from routing.health.breakers import HealthBook
from routing.health.pauses import (
    ActRefused,
    Why,
    pause_provider,
    probe_provider,
    resume_provider,
)
from routing.models import MessageDeliveryAttempt, ProviderHealth, ProviderPause
from routing.rules.breaker import BreakerState
from routing.vocabulary import Channel, FallbackReason, MessageStatus

pytestmark = pytest.mark.django_db
TWILIO, VONAGE = "TwilioSMS", "VonageSMS"


@pytest.fixture(autouse=True)
def at_now(route, monkeypatch):
    """What people read is of that time too."""
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    return route


def ada(reason="contract ended", *, now=NOW):
    return Why("ada", reason, now)


def out_of_use(*, until, provider=TWILIO):
    return ProviderHealth.objects.create(
        provider=provider,
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=until,
        reason="5 failures in a row",
    )


def test_messages_go_to_the_other_provider_and_come_back_at_once():
    messages(6)
    workers = Workers()
    assert workers.turn(at_most=2) == [TWILIO, TWILIO]

    pause_provider(TWILIO, ada())
    workers.now += SECOND
    assert workers.turn(at_most=2) == [VONAGE, VONAGE]
    resume_provider(TWILIO, ada("signed again", now=workers.now))
    workers.now += SECOND
    assert workers.turn(at_most=2) == [TWILIO, TWILIO]

    moved = MessageDeliveryAttempt.objects.filter(provider=VONAGE)
    assert {each.fallback_reason for each in moved} == {
        FallbackReason.PROVIDER_UNAVAILABLE
    }
    twilio, _ = moved[0].decision["candidates"]
    assert twilio["verdict"] == "paused since 09:00 UTC by ada: contract ended"
    assert not ProviderHealth.objects.exists()


def test_where_there_is_no_other_provider_messages_wait_untouched():
    messages(60)
    pause_provider(TWILIO, ada(), until=NOW + 2 * HOUR)
    pause_provider(VONAGE, ada("price"), until=NOW + HOUR)
    workers = Workers()

    workers.work(HOUR - SECOND, every=30 * SECOND)
    assert workers.calls == []
    assert statuses() == {MessageStatus.QUEUED: 60}
    assert CampaignMessage.objects.filter(retry_count=0, due_at=NOW - MINUTE).count()

    workers.now = NOW + HOUR
    workers.work(3 * SECOND)
    assert statuses() == {MessageStatus.SENT: 60}
    assert set(workers.calls) == {VONAGE}


def test_a_failure_of_the_last_provider_in_use_is_an_outage_that_uses_up_no_retry():
    messages(60)
    pause_provider(TWILIO, ada())
    workers = Workers(VonageSMS=FAILURES["503"])

    workers.work(10 * MINUTE, every=5 * SECOND)

    assert statuses() == {MessageStatus.QUEUED: 60}
    assert not CampaignMessage.objects.exclude(retry_count=0).exists()
    assert set(workers.calls) == {VONAGE}


def test_a_paused_provider_is_not_probed_before_it_is_resumed():
    messages(5)
    out_of_use(until=NOW)
    pause_provider(TWILIO, ada())
    workers = Workers()

    assert TWILIO not in workers.turn()
    with pytest.raises(ActRefused, match=r"paused since 09:00 UTC by ada.*Resume it"):
        probe_provider(TWILIO, ada())


def test_a_probe_asked_for_is_sent_by_the_next_message():
    messages(1)
    out_of_use(until=NOW + 4 * MINUTE)
    out_of_use(until=NOW + 4 * MINUTE, provider=VONAGE)
    workers = Workers()
    assert workers.turn() == []

    probe_provider(TWILIO, ada("they say it is mended"))
    workers.now += SECOND

    assert workers.turn() == [TWILIO]
    with pytest.raises(ActRefused, match="is in use"):
        probe_provider(TWILIO, ada())


def test_a_window_begins_and_ends_by_itself():
    messages(3)
    pause_provider(TWILIO, ada("upgrade"), since=NOW + HOUR, until=NOW + 2 * HOUR)
    workers = Workers()
    called = []
    for at in (NOW, NOW + HOUR, NOW + 2 * HOUR):
        workers.now = at
        called += workers.turn(at_most=1)

    assert called == [TWILIO, VONAGE, TWILIO]


def test_a_planned_pause_does_not_stand_in_the_way_of_one_now():
    pause_provider(TWILIO, ada("upgrade"), since=NOW + HOUR)

    pause_provider(TWILIO, ada("they fail"))
    with pytest.raises(ActRefused, match="already paused since 09:00 UTC by ada: they"):
        pause_provider(TWILIO, ada())
    (ended,) = resume_provider(TWILIO, ada("works"))
    (called_off,) = resume_provider(TWILIO, ada("not needed"))

    assert (ended.reason, called_off.reason) == ("they fail", "upgrade")
    assert ProviderPause.objects.filter(resumed_by="ada").count() == 2
    with pytest.raises(ActRefused, match="is not paused"):
        resume_provider(TWILIO, ada())


def test_workers_read_pauses_without_a_further_query():
    book = HealthBook()

    statements = statements_of(lambda: book.pauses(now=NOW))

    assert len(statements) == 2


def test_people_read_that_a_provider_is_paused_and_why():
    (row,) = messages(1)
    pause_provider(TWILIO, ada("contract ended."))
    pause_provider(VONAGE, ada("price"))

    said = Outages(now=NOW).reason_for(row)
    assert said == (
        "SMS is on hold since 09:00:00 UTC: TwilioSMS is paused (contract ended); "
        "VonageSMS is paused (price). It waits until a person resumes a provider."
    )
    assert outages(NOW).level == paused_providers(NOW).level == Level.WARN
    assert outages(NOW).text == f"{said} 1 due messages wait."
    assert paused_providers(NOW).text.startswith(
        "TwilioSMS is paused since 09:00 UTC by ada: contract ended; no other provider "
        "may be used. VonageSMS is paused"
    )
    assert 'provider_paused{provider="TwilioSMS",channel="SMS"} 1' in exposition(
        metrics(NOW)
    )
    explained = StringIO()
    call_command(
        "explain_route", channel="sms", to="+14155552671", json=True, stdout=explained
    )
    explanation = json.loads(explained.getvalue())
    assert said in explanation["why"]
    verdicts = [each["verdict"] for each in explanation["candidates"]]
    assert verdicts[1] == "paused since 09:00 UTC by ada: price"


def test_the_time_of_another_day_has_its_date():
    pause_provider(TWILIO, ada(now=NOW - timedelta(days=2)), until=NOW + HOUR)

    assert paused_providers(NOW).text == (
        "TwilioSMS is paused since 2025-05-31 09:00 UTC by ada: contract ended; until "
        "10:00 UTC; traffic goes to VonageSMS."
    )
