"""The contract of every HTTP provider, with or without a simulator.

Each runs against a server that plays a script. A provider is included by its line in
`marketing_platform.provider_settings`; its test file needs TAKEN, the answer by which
it accepts a message.
"""

from __future__ import annotations

import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from routing.providers.base import (
    AccountError,
    ForgedReceipt,
    MalformedReceipt,
    MessageError,
    OutcomeUnknown,
    ProviderError,
    SendFailure,
    Throttled,
    UnmappedError,
    Unreached,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.registry import ProviderNotConfigured, ProviderRegistry
from routing.providers.transport.http import ANSWER_LIMIT, HttpProvider
from routing.tests.providers.acme import AcmeSMS
from routing.tests.providers.samples import (
    CLASSES,
    aimed_at,
    canaries,
    message_for,
    taken,
)
from routing.tests.providers.scripted_server import ScriptedServer, answer, say
from routing.vocabulary import Channel

EVERY_CLASS = [*CLASSES, AcmeSMS]
OVER_HTTP = [cls for cls in EVERY_CLASS if issubclass(cls, HttpProvider)]
NOWHERE = "http://127.0.0.1:1"


def parametrized(classes):
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.__name__)


every_provider = parametrized(EVERY_CLASS)
http_providers = parametrized(OVER_HTTP)


def has_body(reply):
    return not reply.endswith(b"\r\n\r\n")


def silence(sock):
    """Send nothing until the other side disconnects."""
    sock.recv(1)


def reset(sock):
    """Reset the connection with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def fail(cls, url, kind, **options):
    """Send a message that fails with exactly this kind of error."""
    provider = aimed_at(url, cls, **options)
    with pytest.raises(kind) as caught:
        provider.send(message_for(provider))
    provider.close()
    assert type(caught.value) is kind
    return caught.value


@http_providers
def test_it_declares_where_it_calls(cls):
    assert "BASE_URL" in {option.name for option in cls.declared_options}


@http_providers
def test_it_accepts_a_message_and_names_it(cls):
    with ScriptedServer(say(taken(cls))) as server:
        provider = aimed_at(server.url, cls)
        acceptance = provider.send(message_for(provider))
        provider.close()

    assert acceptance.external_message_id
    assert len(server.requests) == 1


@http_providers
def test_it_opens_no_more_connections_than_there_are_threads(cls):
    with ScriptedServer(*[say(taken(cls))] * 40) as server:
        provider = aimed_at(server.url, cls)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(provider.send, [message_for(provider)] * 40))
        provider.close()

    assert len(server.requests) == 40
    assert server.connections <= 4


@http_providers
def test_a_closed_port_means_unavailable(cls):
    assert fail(cls, NOWHERE, Unreached).unavailable


@http_providers
def test_a_certificate_that_nobody_vouches_for_was_sent_nothing(cls, certificate):
    with ScriptedServer(tls=certificate.server_side()) as server:
        error = fail(cls, server.url, Unreached)

    assert error.unavailable
    assert server.requests == []


@http_providers
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silence, id="hang"),
        pytest.param(say(*[b"X"] * 20, pause=0.1), id="drip"),
    ],
)
def test_the_deadline_is_of_the_whole_call(cls, script):
    started = time.monotonic()

    with ScriptedServer(script) as server:
        fail(cls, server.url, OutcomeUnknown, TIMEOUT=0.4)

        assert time.monotonic() - started < 0.8
        assert len(server.requests) == 1


@http_providers
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(say(close=True), id="close"),
        pytest.param(reset, id="reset"),
        pytest.param(say(b"HTTP/1.1 20", close=True), id="cut status"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", close=True),
            id="cut body",
        ),
        pytest.param(say(b"\0\xff" * 40, close=True), id="garbage"),
        pytest.param(
            say(answer("200 OK", b" " * (ANSWER_LIMIT + 1)), close=True), id="huge"
        ),
    ],
)
def test_an_answer_that_is_lost_is_not_asked_for_again(cls, script):
    with ScriptedServer(script) as server:
        fail(cls, server.url, OutcomeUnknown)

    assert len(server.requests) == 1


STATUSES = {
    "200 OK": OutcomeUnknown,
    "301 Moved Permanently": ProviderError,
    "303 See Other": OutcomeUnknown,
    "307 Temporary Redirect": ProviderError,
    "402 Payment Required": AccountError,
    "403 Forbidden": AccountError,
    "404 Not Found": ProviderError,
    "405 Method Not Allowed": ProviderError,
    "408 Request Timeout": ProviderError,
    "410 Gone": ProviderError,
    "413 Content Too Large": UnsuitableError,
    "414 URI Too Long": ProviderError,
    "418 I'm a teapot": UnmappedError,
    "421 Misdirected Request": ProviderError,
    "429 Too Many Requests": Throttled,
    "431 Request Header Fields Too Large": ProviderError,
    "451 Unavailable For Legal Reasons": ProviderError,
    "500 Internal Server Error": OutcomeUnknown,
    "501 Not Implemented": ProviderError,
    "502 Bad Gateway": OutcomeUnknown,
    "503 Service Unavailable": ProviderError,
    "504 Gateway Timeout": OutcomeUnknown,
    "599 What": OutcomeUnknown,
}


@http_providers
def test_a_status_speaks_for_itself(cls, subtests):
    for status, kind in STATUSES.items():
        if status == "200 OK" and not has_body(taken(cls)):
            continue  # its status alone means acceptance
        said = answer(status, b"<html>", "Location: /x")
        with subtests.test(status=status), ScriptedServer(say(said)) as server:
            fail(cls, server.url, kind)
            assert len(server.requests) == 1


@http_providers
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("429 Too Many Requests", Throttled),
        ("503 Service Unavailable", ProviderError),
    ],
)
def test_it_says_how_long_to_wait(cls, status, kind):
    with ScriptedServer(say(answer(status, b"", "Retry-After: 17"))) as server:
        error = fail(cls, server.url, kind)

    assert error.retry_after == timedelta(seconds=17)


@http_providers
def test_it_refuses_what_it_cannot_carry_without_a_call(cls):
    provider = aimed_at(NOWHERE, cls)
    media = [] if cls.channel == Channel.MMS else ["https://example.com/a.jpg"]

    with pytest.raises(MessageError):
        provider.send(message_for(provider, media_urls=media))


@http_providers
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silence, id="hang"),
        pytest.param(say(close=True), id="drop"),
        pytest.param(say(answer("400 Bad Request", b"\0")), id="refusal"),
        pytest.param(say(answer("500 Oops", b"{}")), id="error"),
    ],
)
def test_secrets_stay_out_of_errors_and_logs(cls, script, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = canaries(cls)

    with ScriptedServer(script) as server:
        provider = aimed_at(server.url, cls, TIMEOUT=0.3, **secrets)
        with pytest.raises(SendFailure) as caught:
            provider.send(message_for(provider))
        provider.close()

    error = caught.value
    told = [repr(provider), repr(error), str(error), repr(error.__cause__)]
    told += [repr(error.__context__) if not error.__suppress_context__ else ""]
    assert secrets
    assert "canary" not in caplog.text + "".join(told)


@every_provider
def test_without_its_options_the_registry_says_what_is_missing_and_where(cls):
    backend = f"{cls.__module__}.{cls.__name__}"
    missing = cls("it", {}).missing_options()
    registry = ProviderRegistry({"it": {"BACKEND": backend}})

    with pytest.raises(ProviderNotConfigured) as caught:
        registry.get("it")

    names = ", ".join(option.name for option in missing)
    variables = ", ".join(option.variable for option in missing)
    assert f"it lacks {names} (set {variables}; " in str(caught.value)


@parametrized([cls for cls in EVERY_CLASS if cls.sends_receipts()])
def test_a_receipt_that_is_not_signed_is_refused(cls):
    provider = cls("it", cls.simulated_options(port=0))

    with pytest.raises((ForgedReceipt, MalformedReceipt)):
        provider.read_receipts(WebhookRequest("https://example.com/", {}, b"{}"))


@every_provider
def test_the_documents_say_how_its_receipts_come(cls):
    assert (cls.docs.receipts != "none") == cls.sends_receipts()
