"""Asking providers what became of a message: found, certainly not there, or unsure."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPMessage

import pytest

from routing.look_ups import Finding, first_look, look_up, settling_time
from routing.providers.base import Enquiry, LookUpFailed
from routing.providers.registry import registry
from routing.providers.transport.http import Answer
from routing.providers.transport.shared_answers import Listed
from routing.reference import reference_for
from routing.tests.providers.samples import build, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.vocabulary import MessageStatus

ASKABLE = ["TwilioSMS", "TwilioMMS", "VonageSMS", "SendGridEmail"]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def enquiry_for(provider, *, reference="m12a3", **fields):
    """An enquiry right after a call."""
    now = datetime.now(UTC)
    message = message_for(provider, reference=reference, **fields)
    return Enquiry(message, since=now - MINUTE, until=now, asked_at=now)


def close(provider, call):
    """The call's result; the provider is closed afterwards."""
    try:
        return call()
    finally:
        provider.close()


@pytest.mark.parametrize("name", ASKABLE)
def test_a_message_that_was_taken_is_found_with_our_reference(simulator, name):
    provider = build(name)
    sent = enquiry_for(provider)
    acceptance = provider.send(sent.message)

    found = close(provider, lambda: provider.look_up(sent))

    assert found.reference == "m12a3"
    assert found.external_message_id in {acceptance.external_message_id, ""}
    assert found.raw


@pytest.mark.parametrize("name", ASKABLE)
def test_a_message_that_was_not_taken_is_certainly_not_there(simulator, name):
    provider = build(name)

    assert close(provider, lambda: provider.look_up(enquiry_for(provider))) is None


def sent_and_looked_up(name, went_as, *, asked="m12a3", **fields):
    """The result of looking up a message sent with this reference."""
    provider = build(name)
    provider.send(message_for(provider, reference=went_as))
    enquiry = enquiry_for(provider, reference=asked, **fields)
    return close(provider, lambda: look_up(provider_name=name, enquiry=enquiry))


@pytest.mark.parametrize("name", ["VonageSMS", "SendGridEmail"])
@pytest.mark.parametrize("went_out", ["without a seal", "with a former key"])
def test_what_went_out_before_the_key_changed_is_found(
    simulator, settings, name, went_out
):
    before = reference_for(12, 3, provider=name)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"
    went_as = "m12a3" if went_out == "without a seal" else before

    finding = sent_and_looked_up(
        name, went_as, asked=reference_for(12, 3, provider=name)
    )

    assert finding.receipt is not None


def test_what_a_lost_key_sealed_is_not_taken_for_never_sent(simulator, settings):
    went_as = reference_for(12, 3, provider="VonageSMS")
    settings.SECRET_KEY = "a new one"

    finding = sent_and_looked_up(
        "VonageSMS", went_as, asked=reference_for(12, 3, provider="VonageSMS")
    )

    assert "another key" in finding.problem


@pytest.mark.parametrize("name", ["VonageSMS", "SendGridEmail"])
def test_what_went_to_another_recipient_is_not_ours(simulator, name):
    is_email = name == "SendGridEmail"
    another = "eve@example.org" if is_email else "+15551234599"

    finding = sent_and_looked_up(name, "m12a3", recipient=another)

    assert "another recipient" in finding.problem


@pytest.mark.parametrize("name", ASKABLE)
def test_how_a_message_ended_is_told(simulator, name):
    simulator.configure(receipts=False)  # all are delivered at once
    provider = build(name)
    sent = enquiry_for(provider)
    provider.send(sent.message)

    found = close(provider, lambda: provider.look_up(sent))

    # Twilio's messages finish with their callback, which is switched off.
    assert found.status in {MessageStatus.DELIVERED, None}


@pytest.mark.parametrize("name", ASKABLE)
@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_a_provider_that_refuses_to_tell_has_told_nothing(simulator, name, status):
    simulator.configure(look_up_status=status)
    provider = build(name)

    with pytest.raises(LookUpFailed):
        close(provider, lambda: provider.look_up(enquiry_for(provider)))


@pytest.mark.parametrize("name", ASKABLE)
def test_a_provider_that_lags_does_not_show_a_message_yet(simulator, name):
    simulator.configure(look_up_lag=60.0)
    provider = build(name)
    sent = enquiry_for(provider)
    provider.send(sent.message)

    assert close(provider, lambda: provider.look_up(sent)) is None


@pytest.mark.parametrize("name", ASKABLE)
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b'{"messages": 1}'])
def test_an_answer_that_cannot_be_read_is_not_taken_for_a_no(simulator, name, body):
    with ScriptedServer(say(answer("200 OK", body))) as server:
        provider = build(name, BASE_URL=server.url, REPORTS_URL=server.url)

        with pytest.raises(LookUpFailed):
            close(provider, lambda: provider.look_up(enquiry_for(provider)))


@pytest.mark.parametrize("name", ASKABLE)
def test_a_failure_tells_no_credentials(simulator, name, caplog):
    secrets = ("AUTH_TOKEN", "API_KEY", "API_SECRET")
    provider = build(
        name, BASE_URL="http://127.0.0.1:1", REPORTS_URL="http://127.0.0.1:1"
    )

    with pytest.raises(LookUpFailed) as caught:
        close(provider, lambda: provider.look_up(enquiry_for(provider)))

    values = [str(provider.options[key]) for key in secrets if key in provider.options]
    assert not any(value in str(caught.value) for value in values if len(value) > 9)


@pytest.mark.parametrize("name", ASKABLE)
def test_a_provider_that_refuses_the_question_is_not_one_that_cannot_tell(
    simulator, name
):
    simulator.configure(look_up_status=429)

    finding = look_up(provider_name=name, enquiry=enquiry_for(registry.get(name)))

    assert finding.is_refused


@pytest.mark.parametrize("name", ASKABLE)
@pytest.mark.parametrize("apart", [-2 * HOUR, 2 * HOUR], ids=["behind", "ahead"])
def test_a_message_is_found_however_far_apart_the_clocks_are(simulator, name, apart):
    provider = build(name)
    sent = enquiry_for(provider).by_clock(datetime.now(UTC) + apart)
    provider.send(sent.message)

    assert close(provider, lambda: provider.look_up(sent)) is not None


@pytest.mark.parametrize("on_record", ["+15005550006", ""])
def test_a_message_is_found_by_the_sender_that_it_left_by(simulator, on_record):
    before, provider = build("TwilioSMS"), build("TwilioSMS", FROM="+15005550009")
    sent = replace(enquiry_for(provider), sender=on_record)
    close(before, lambda: before.send(sent.message))

    assert close(provider, lambda: provider.look_up(sent)) is not None


@pytest.mark.parametrize("name", ASKABLE)
def test_another_account_cannot_tell(simulator, settings, name):
    before = build(name).account
    options = settings.MESSAGE_PROVIDERS[name]["OPTIONS"]
    another = options | {registry.provider_class(name).account_option: "another"}
    settings.MESSAGE_PROVIDERS = {
        name: settings.MESSAGE_PROVIDERS[name] | {"OPTIONS": another}
    }
    enquiry = replace(enquiry_for(registry.get(name)), account=before)

    finding = look_up(provider_name=name, enquiry=enquiry)

    assert finding == Finding(problem="Its account has been changed since.")


# Twilio does not return our reference.


def resource(provider, **fields):
    """A message as Twilio lists it, sent just now."""
    message = message_for(provider)
    return {
        "sid": "SM1",
        "body": message.body,
        "direction": "outbound-api",
        "num_media": "0",
        "status": "sent",
        "date_created": format_datetime(datetime.now(UTC)),
    } | fields


def ask_twilio(*listed, sender="+15005550006", more=False, **fields):
    """The look-up's result for a list answered by Twilio."""
    provider = build("TwilioSMS")
    page = {
        "messages": [resource(provider, **each) for each in listed],
        "next_page_uri": "/more" if more else None,
    }
    with ScriptedServer(say(answer("200 OK", json.dumps(page).encode()))) as server:
        provider = build("TwilioSMS", BASE_URL=server.url, FROM=sender)
        enquiry = enquiry_for(provider, **fields)
        return close(provider, lambda: provider.look_up(enquiry))


def test_two_messages_that_fit_leave_it_open(simulator):
    with pytest.raises(LookUpFailed, match="Several"):
        ask_twilio({}, {"sid": "SM2"})


@pytest.mark.parametrize(
    "other",
    [
        {"body": "Another campaign's text"},
        {"direction": "inbound"},
        {"num_media": "1"},
    ],
    ids=["text", "direction", "media"],
)
def test_a_message_that_differs_is_another(simulator, other):
    assert ask_twilio(other) is None
    assert ask_twilio(other, {}).external_message_id == "SM1"


@pytest.mark.parametrize("apart", [-HOUR, HOUR], ids=["earlier", "later"])
def test_the_same_text_at_another_time_leaves_it_open(simulator, apart):
    with pytest.raises(LookUpFailed, match="another time") as caught:
        ask_twilio({"date_created": format_datetime(datetime.now(UTC) + apart)})

    assert caught.value.doubtful == ("SM1",)


def test_a_trial_account_puts_words_in_front(simulator):
    body = "Sent from your Twilio trial account - Hello, Ada"

    assert ask_twilio({"body": body}).external_message_id == "SM1"


def test_a_messaging_service_may_have_changed_the_text(simulator):
    with pytest.raises(LookUpFailed, match="another text"):
        ask_twilio({"body": "Hello. Ada"}, sender="MG" + "1" * 32)


def test_a_page_that_does_not_reach_back_leaves_it_open(simulator):
    with pytest.raises(LookUpFailed, match="Too many"):
        ask_twilio({"body": "x"}, more=True)


def test_a_page_that_reaches_back_is_enough(simulator):
    long_ago = format_datetime(datetime.now(UTC) - HOUR)

    assert ask_twilio({"date_created": long_ago, "body": "x"}, more=True) is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("queued", None),
        ("sent", MessageStatus.SENT),
        ("delivered", MessageStatus.DELIVERED),
        ("failed", MessageStatus.FAILED),
        ("undelivered", MessageStatus.BOUNCED),
    ],
)
def test_twilios_word_is_read_as_in_a_callback(simulator, status, verdict):
    found = ask_twilio({"status": status})

    assert (found.status, found.event_id) == (verdict, f"SM1:{status}")


# Vonage returns pages of everything sent at that time.


def test_vonages_pages_are_gone_through(simulator):
    provider = build("VonageSMS")
    sent = enquiry_for(provider, reference="m9a1")
    for number in range(105):
        provider.send(message_for(provider, reference=f"m{number + 100}a1"))
    provider.send(sent.message)

    found = close(provider, lambda: provider.look_up(sent))

    assert found.reference == "m9a1"


@pytest.fixture
def reports(monkeypatch):
    """A provider of which records were asked for, and the queries."""
    provider, queries = build("VonageSMS", TIMEOUT=30), []
    fetch = provider._fetch_report

    def fetch_report(query):
        queries.append(query)
        return fetch(query)

    monkeypatch.setattr(provider, "_fetch_report", fetch_report)
    yield provider, queries
    provider.close()


def long_ago(provider, number, *, age=5 * MINUTE):
    """An enquiry of now about a call of some minutes ago."""
    now = datetime.now(UTC)
    at = now.replace(second=10, microsecond=0) - age
    message = message_for(provider, reference=f"m{number}a1")
    return Enquiry(message, since=at, until=at, asked_at=now)


def test_look_ups_of_about_the_same_time_share_vonages_pages(simulator, reports):
    provider, queries = reports
    enquiries = [long_ago(provider, number) for number in range(20)]

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(provider.look_up, enquiries)) == [None] * 20

    assert len(queries) == 1


@pytest.mark.parametrize(
    ("called", "asked", "serves"),
    [
        (-MINUTE, 9 * SECOND, True),
        (-MINUTE, 10 * SECOND, False),  # the page is old by now
        (-59 * SECOND, SECOND, False),  # it might not have been listed yet
    ],
)
def test_a_page_serves_what_it_would_have_listed(called, asked, serves):
    at = datetime.now(UTC)
    message = message_for(build("VonageSMS"))
    enquiry = Enquiry(message, at + called, at + called, asked_at=at + asked)
    listed = Listed(Answer(200, HTTPMessage(), b""), asked_at=at)

    assert listed.serves(enquiry, settling=MINUTE) == serves


def test_a_wait_for_others_is_no_difference_of_clocks(simulator, reports):
    provider, _ = reports
    enquiry = long_ago(provider, 1)
    shared, asked_at = provider._reports, []
    get = shared.get
    shared._lock.acquire()
    threading.Timer(0.5, shared._lock.release).start()

    def noted(*args, **options):
        asked_at.append((listed := get(*args, **options)).asked_at)
        return listed

    shared.get = noted
    provider.look_up(enquiry)

    assert asked_at[0] >= enquiry.asked_at + timedelta(seconds=0.4)


# The result for the rest of the code.


def test_a_message_that_a_provider_has_is_sent_whatever_it_still_does_to_it(simulator):
    provider = build("TwilioSMS")
    sent = enquiry_for(provider)
    close(provider, lambda: provider.send(sent.message))

    finding = look_up(provider_name="TwilioSMS", enquiry=sent)

    assert finding.receipt.status == MessageStatus.SENT
    assert finding.receipt.provider_status == "queued (looked up)"
    assert finding.receipt.event_id.endswith(":queued:looked-up")


def test_a_provider_that_cannot_be_asked_says_so(simulator):
    provider = build("SMTPEmail")

    assert settling_time("SMTPEmail") is None
    assert look_up(provider_name="SMTPEmail", enquiry=enquiry_for(provider)).problem


def test_an_adapter_that_fails_has_told_nothing(simulator, settings):
    enquiry = enquiry_for(build("SMTPEmail"))
    settings.MESSAGE_PROVIDERS = {"Ours": {"BACKEND": f"{__name__}.Broken"}}

    finding = look_up(provider_name="Ours", enquiry=enquiry)

    assert finding == Finding(
        problem="The adapter failed; see the log.", is_refused=True
    )


class Broken:
    """An adapter where everything fails."""

    account = ""

    def __init__(self, name, options):
        self.options = options

    def missing_options(self):
        return []

    def look_up(self, enquiry):
        raise SystemExit

    def close(self):
        pass


@pytest.mark.parametrize(
    ("name", "is_call_over", "wait"),
    [
        ("TwilioSMS", True, timedelta(seconds=1)),
        ("TwilioSMS", False, timedelta(seconds=31)),  # the call may go on for 30
        ("SMTPEmail", True, HOUR),
        ("Nobody", True, HOUR),
    ],
)
def test_the_first_look_waits_for_a_receipt_and_for_the_call(
    simulator, name, is_call_over, wait
):
    assert first_look(name, verdict_wait=HOUR, is_call_over=is_call_over) == wait
