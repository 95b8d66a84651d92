"""Malicious webhook calls: each is refused, and none causes an error of ours."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.providers.base import (
    ForgedReceipt,
    MalformedReceipt,
    Provider,
    WebhookRequest,
)
from routing.tests.providers.samples import CLASSES, aimed_at
from routing.text.untrusted import as_amount

PROVIDERS = {
    cls.__name__: aimed_at("http://127.0.0.1:1", cls, RECEIPT_URL="https://example.com")
    for cls in CLASSES
}
RECEIVERS = [
    (cls.__name__, kind)
    for cls in CLASSES
    for kind in ("read_receipts", "read_inbound")
    if getattr(cls, kind) is not getattr(Provider, kind)
]
every_receiver = pytest.mark.parametrize(("name", "kind"), RECEIVERS)
REFUSED = (ForgedReceipt, MalformedReceipt)
SIGNATURES = (
    "X-Twilio-Signature",
    "Authorization",
    "X-Twilio-Email-Event-Webhook-Signature",
    "X-Twilio-Email-Event-Webhook-Timestamp",
)
DEEP = b"[" * 100_000
DEEP_VALUE = b'{"a":' * 500 + b"1" + b"}" * 500

# Unusual JSON: lone surrogates, huge numbers, depth.
json_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sig", "timestamp", "status", "messageId", "a"]), inner
        )
    ),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
surrogates = st.sampled_from(
    [b'{"sig":"\\ud800"}', b'{"\\udfff":"a","sig":"b"}', b'{"timestamp":"\\ud800"}']
)
bodies = st.binary() | json_bodies | surrogates
header_texts = st.text(st.characters(max_codepoint=255), max_size=60)


def call(name, kind, body, *, signature="", query=""):
    """Let the provider read a call with the same value in all signature headers."""
    url = f"https://example.com/webhooks/{name}/{query}"
    headers = dict.fromkeys(SIGNATURES, signature)
    return getattr(PROVIDERS[name], kind)(WebhookRequest(url, headers, body))


@every_receiver
@settings(max_examples=60)
@given(body=bodies, signature=header_texts, query=header_texts)
def test_no_call_without_a_signature_gets_further(name, kind, body, signature, query):
    with pytest.raises(REFUSED):
        call(name, kind, body, signature=signature, query=f"?{query}")


@every_receiver
@pytest.mark.parametrize(
    "body", [DEEP, DEEP_VALUE, b'{"a":' + b"9" * 5000 + b"}"], ids=["[", "{", "9"]
)
def test_depth_is_no_way_in(name, kind, body):
    with pytest.raises(REFUSED):
        call(name, kind, body)


@every_receiver
def test_a_field_a_byte_is_refused_before_it_is_sorted(name, kind):
    with pytest.raises(REFUSED):
        call(name, kind, b"a&" * 1_000_000)


@pytest.mark.parametrize("kind", ["read_receipts", "read_inbound"])
@pytest.mark.parametrize("header", [DEEP[:6000], b"{}", b"\xff", b'"a"'], ids=repr)
def test_a_jwt_with_a_hostile_header_is_forged(kind, header):
    token = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.AAAA"

    with pytest.raises(ForgedReceipt):
        call("VonageMMS", kind, b"{}", signature=f"Bearer {token}")


@pytest.mark.parametrize(
    "text", ["1e9999999", "1e999999", "-9e999999999", "NaN", "1e9"]
)
def test_an_amount_that_is_none_is_no_error(text):
    assert as_amount(text) is None
