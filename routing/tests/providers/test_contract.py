"""The contract of every provider that has a simulator.

The simulators of the fixture `simulator` run in a process of their own. Tests without
them are in `test_transport_contract`.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from routing.providers.base import (
    AccountError,
    ForgedReceipt,
    InboundNotSupported,
    MessageError,
    OutcomeUnknown,
    ProviderError,
    ReceiptsNotSupported,
    SendFailure,
    Throttled,
    Unreached,
    WebhookRequest,
)
from routing.tests.providers.samples import (
    SIMULATED,
    SIMULATED_OVER_HTTP,
    ReceiptCatcher,
    build,
    canaries,
    message_for,
)
from routing.vocabulary import Channel, MessageStatus

all_providers = pytest.mark.parametrize("name", SIMULATED)
http_providers = pytest.mark.parametrize("name", SIMULATED_OVER_HTTP)


def requests_of(simulator, name: str) -> int:
    return simulator.state()["providers"].get(name, {}).get("requests", 0)


def fail(provider, kind: type[Exception]):
    """Send a message that fails with exactly this kind of error."""
    with pytest.raises(kind) as caught:
        provider.send(message_for(provider))
    assert type(caught.value) is kind
    return caught.value


@all_providers
def test_it_accepts_a_message_and_names_it(simulator, name):
    provider = build(name)

    acceptance = provider.send(message_for(provider))

    assert acceptance.external_message_id
    assert (acceptance.cost is None) == (acceptance.currency == "")
    assert requests_of(simulator, name) == 1
    provider.close()


@all_providers
def test_it_sends_from_many_threads_at_once(simulator, name):
    provider = build(name)
    messages = [message_for(provider, reference=f"m{n}a1") for n in range(1, 41)]

    with ThreadPoolExecutor(20) as pool:
        ids = {a.external_message_id for a in pool.map(provider.send, messages)}

    assert len(ids) == 40
    assert requests_of(simulator, name) == 40
    provider.close()


@http_providers
def test_its_receipt_brings_the_reference_back(simulator, name):
    with ReceiptCatcher() as catcher:
        simulator.configure(public_url=catcher.url)
        provider = build(name, RECEIPT_URL=f"{catcher.url}/webhooks/{name}/")
        acceptance = provider.send(message_for(provider))
        receipts = provider.read_receipts(catcher.next())
        while receipts[-1].status != MessageStatus.DELIVERED:
            receipts += provider.read_receipts(catcher.next())
        provider.close()

    assert {receipt.reference for receipt in receipts} == {"m12a3"}
    assert receipts[-1].external_message_id == acceptance.external_message_id
    assert len({receipt.event_id for receipt in receipts}) == len(receipts)


@http_providers
def test_it_refuses_a_receipt_that_is_not_signed(simulator, name):
    request = WebhookRequest("https://example.com/webhooks/x/", {}, b"{}")

    with pytest.raises(ForgedReceipt):
        build(name).read_receipts(request)


def test_smtp_has_no_receipts(simulator):
    with pytest.raises(ReceiptsNotSupported):
        build("SMTPEmail").read_receipts(WebhookRequest("", {}, b""))


@pytest.mark.parametrize("name", ["SMTPEmail", "SendGridEmail"])
def test_by_email_no_handset_writes(simulator, name):
    with pytest.raises(InboundNotSupported):
        build(name).read_inbound(WebhookRequest("", {}, b""))


@all_providers
def test_a_closed_port_means_unavailable(simulator, name):
    simulator.set_fault(name, "refuse")
    provider = build(name)

    error = fail(provider, Unreached)

    assert error.unavailable


@all_providers
def test_a_hang_leaves_the_outcome_unknown_at_the_deadline(simulator, name):
    simulator.set_fault(name, "hang")
    started = time.monotonic()

    fail(build(name, TIMEOUT=0.4), OutcomeUnknown)

    assert time.monotonic() - started < 0.8
    assert requests_of(simulator, name) == 1


@all_providers
def test_a_drip_leaves_the_outcome_unknown_at_the_deadline(simulator, name):
    simulator.set_fault(name, "drip", interval=0.1)
    started = time.monotonic()

    fail(build(name, TIMEOUT=0.5), OutcomeUnknown)

    assert time.monotonic() - started < 0.9


@all_providers
def test_a_drop_leaves_the_outcome_unknown_and_is_not_tried_again(simulator, name):
    simulator.set_fault(name, "drop")

    fail(build(name), OutcomeUnknown)

    assert requests_of(simulator, name) == 1


@all_providers
def test_an_endless_answer_is_not_read_to_its_end(simulator, name):
    simulator.set_fault(name, "huge", megabytes=8)

    fail(build(name), OutcomeUnknown)

    assert requests_of(simulator, name) == 1


@pytest.mark.parametrize("name", [n for n in SIMULATED if n != "SendGridEmail"])
def test_an_acceptance_that_cannot_be_read_leaves_the_outcome_unknown(simulator, name):
    simulator.set_fault(name, "garbage")

    fail(build(name), OutcomeUnknown)


def test_sendgrid_accepts_by_its_status_alone(simulator):
    simulator.set_fault("SendGridEmail", "garbage")
    provider = build("SendGridEmail")

    assert provider.send(message_for(provider)).external_message_id
    provider.close()


@all_providers
def test_being_out_of_service_means_unavailable(simulator, name):
    simulator.set_fault(name, "unavailable", retry_after=30)
    provider = build(name)

    error = fail(provider, ProviderError)

    assert error.unavailable
    is_http = name in SIMULATED_OVER_HTTP
    assert error.retry_after == (timedelta(seconds=30) if is_http else None)
    provider.close()


@all_providers
def test_a_throttle_is_not_a_failure(simulator, name):
    simulator.set_fault(name, "throttle")
    provider = build(name)

    fail(provider, Throttled)
    provider.close()


@pytest.mark.parametrize("name", ["TwilioSMS", "TwilioMMS", "VonageMMS"])
def test_a_throttle_says_how_long_to_wait(simulator, name):
    simulator.set_fault(name, "throttle", retry_after=17)
    provider = build(name)

    assert fail(provider, Throttled).retry_after == timedelta(seconds=17)
    provider.close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("TwilioSMS", {"AUTH_TOKEN": "wrong"}),
        ("TwilioMMS", {"AUTH_TOKEN": "wrong"}),
        ("VonageSMS", {"API_SECRET": "wrong"}),
        ("VonageMMS", {"API_SECRET": "wrong"}),
        ("SendGridEmail", {"API_KEY": "wrong"}),
    ],
)
def test_bad_credentials_are_an_account_error(simulator, name, options):
    provider = build(name, **options)

    fail(provider, AccountError)
    provider.close()


@all_providers
def test_it_refuses_what_it_cannot_carry(simulator, name):
    provider = build(name)
    media = [] if provider.channel == Channel.MMS else ["https://example.com/a.jpg"]

    with pytest.raises(MessageError):
        provider.send(message_for(provider, media_urls=media))

    assert requests_of(simulator, name) == 0


@all_providers
@pytest.mark.parametrize("kind", ["error", "hang", "drop", "garbage", "refuse", "huge"])
def test_secrets_stay_out_of_errors_and_logs(simulator, caplog, name, kind):
    caplog.set_level(logging.DEBUG)
    simulator.set_fault(name, kind)
    provider = build(name, TIMEOUT=0.3, USERNAME="user", **canaries(type(build(name))))
    told = [repr(provider)]

    try:
        provider.send(message_for(provider))
    except SendFailure as error:
        told += [repr(error), str(error), repr(error.__cause__)]
        told += [repr(error.__context__) if not error.__suppress_context__ else ""]
    provider.close()

    assert "canary" not in caplog.text + "".join(told)
