"""Acme's codes and requests: all that a new provider's own tests need."""

from __future__ import annotations

import json

import pytest

from routing.providers.base import AccountError, RecipientError, UnmappedError
from routing.tests.providers.acme import AcmeSMS
from routing.tests.providers.samples import aimed_at, message_for
from routing.tests.providers.scripted_server import ScriptedServer, answer, say

TAKEN = answer("201 Created", b'{"id": "a1"}')


def send_to(server, **options):
    provider = aimed_at(server.url, AcmeSMS, **options)
    try:
        return provider.send(message_for(provider))
    finally:
        provider.close()


def test_the_request_is_what_acme_documents():
    with ScriptedServer(say(TAKEN)) as server:
        acceptance = send_to(server, TOKEN="t", FROM="+1500")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /messages ")
    assert b"Authorization: Bearer t" in head
    assert json.loads(body) == {
        "from": "+1500",
        "to": "+15551234567",
        "text": "Hello, Ada",
        "flash": False,
    }
    assert acceptance.external_message_id == "a1"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("bad_number", RecipientError),
        ("no_credit", AccountError),
        ("stopped", RecipientError),
        ("what", UnmappedError),
    ],
)
def test_a_code_is_what_the_table_says(code, kind):
    refusal = answer("400 Bad Request", json.dumps({"error": code}).encode())

    with ScriptedServer(say(refusal)) as server, pytest.raises(kind) as caught:
        send_to(server)

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert getattr(caught.value, "opted_out", False) is (code == "stopped")
