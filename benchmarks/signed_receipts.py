"""Receipts as providers post them: signed, and ready to be written to a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from routing.simulators import credentials, sendgrid, twilio, vonage_sms

_FORM = "application/x-www-form-urlencoded"
# How each provider puts it that a message has left, and that it has arrived.
SENT_AND_DELIVERED = {
    "TwilioSMS": ("sent", "delivered"),
    "VonageSMS": ("accepted", "delivered"),
    "SendGridEmail": ("processed", "delivered"),
}


class Event(NamedTuple):
    """What a provider says of a message."""

    reference: str  # ours
    external_id: str
    recipient: str
    status: str  # the provider's word


def by_twilio(events: Sequence[Event], *, port: int) -> bytes:
    """The call for one event."""
    (event,) = events
    path = f"/webhooks/TwilioSMS/?reference={event.reference}"
    fields = {
        "AccountSid": credentials.TWILIO_ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "MessageSid": event.external_id,
        "MessageStatus": event.status,
        "SmsSid": event.external_id,
        "SmsStatus": event.status,
        "To": event.recipient,
    }
    signature = twilio.sign(f"http://127.0.0.1:{port}{path}", fields)
    headers = {"Content-Type": _FORM, "X-Twilio-Signature": signature}
    return _request(port, path, headers, urlencode(fields).encode())


def by_vonage(events: Sequence[Event], *, port: int) -> bytes:
    """The call for one event."""
    (event,) = events
    fields = {
        "msisdn": event.recipient.removeprefix("+"),
        "to": "15005550007",
        "network-code": "12345",
        "messageId": event.external_id,
        "price": "0.0333",
        "status": event.status,
        "scts": "2611301200",
        "err-code": "0",
        "api-key": "abcd1234",
        "client-ref": event.reference,
        "message-timestamp": f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}",
        "timestamp": str(int(time.time())),
        "nonce": "00000000-0000-4000-8000-000000000000",
    }
    fields["sig"] = vonage_sms.sign(fields)
    headers = {"Content-Type": _FORM}
    return _request(port, "/webhooks/VonageSMS/", headers, urlencode(fields).encode())


def by_sendgrid(events: Sequence[Event], *, port: int) -> bytes:
    """The call for any number of events."""
    timestamp = str(int(time.time()))
    body = json.dumps([_sendgrid_event(each, int(timestamp)) for each in events])
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-Twilio-Email-Event-Webhook-Signature": sendgrid.sign(
            timestamp, body.encode()
        ),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return _request(port, "/webhooks/SendGridEmail/", headers, body.encode())


Signer = Callable[..., bytes]
SIGNERS: dict[str, Signer] = {
    "TwilioSMS": by_twilio,
    "VonageSMS": by_vonage,
    "SendGridEmail": by_sendgrid,
}


def _sendgrid_event(event: Event, timestamp: int) -> dict[str, object]:
    return {
        "anymail_id": event.external_id,
        "reference": event.reference,
        "email": event.recipient,
        "timestamp": timestamp,
        "event": event.status,
        "smtp-id": f"<{event.external_id}@sendgrid.example>",
        "sg_event_id": f"{event.external_id}-{event.status}",
        "sg_message_id": f"{event.external_id}.recvd-benchmark-0",
    }


def _request(port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: TwilioProxy/1.1",
        "Accept: */*",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
