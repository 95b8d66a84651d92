"""A text from a handset: each vendor's webhook call for it, signed like its receipts.

https://www.twilio.com/docs/messaging/guides/webhook-request
https://developer.vonage.com/en/messaging/sms/guides/inbound-sms
https://developer.vonage.com/en/messages/concepts/inbound-messages
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from routing.simulators import credentials, twilio, vonage_messages, vonage_sms
from routing.simulators.receipts import ReceiptCall

OUR_NUMBER = "+15005550006"
_FORM = "application/x-www-form-urlencoded"

# Fields that replace a vendor's own or, as None, remove them.
Changes = Mapping[str, str | None]


def inbound_call(
    provider: str,
    *,
    public_url: str,
    sender: str,
    text: str,
    now: datetime,
    changes: Changes | None = None,
) -> ReceiptCall:
    """The webhook call of a provider to whose number `sender` (E.164) wrote `text`.

    Raises KeyError for a provider to which handsets cannot write.
    """
    fields = _FIELDS[provider](sender, text, now) | dict(changes or {})
    kept = {name: value for name, value in fields.items() if value is not None}
    return _SIGNERS[provider](f"{public_url}/webhooks/{provider}/inbound/", kept, now)


def _twilio_fields(sender: str, text: str, _now: datetime) -> dict[str, Any]:
    sid = "SM" + uuid4().hex
    return {
        "AccountSid": credentials.TWILIO_ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "Body": text,
        "From": sender,
        "MessageSid": sid,
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "SmsStatus": "received",
        "To": OUR_NUMBER,
    }


def _vonage_sms_fields(sender: str, text: str, now: datetime) -> dict[str, Any]:
    return {
        "api-key": credentials.VONAGE_API_KEY,
        "keyword": (text.split() or [""])[0].upper(),
        "message-timestamp": f"{now:%Y-%m-%d %H:%M:%S}",
        "messageId": uuid4().hex[:16].upper(),
        "msisdn": sender.removeprefix("+"),
        "nonce": str(uuid4()),
        "text": text,
        "timestamp": str(int(now.timestamp())),
        "to": OUR_NUMBER.removeprefix("+"),
        "type": "text" if text.isascii() else "unicode",
    }


def _vonage_messages_fields(sender: str, text: str, now: datetime) -> dict[str, Any]:
    return {
        "channel": "mms",
        "context_status": "none",
        "from": sender.removeprefix("+"),
        "message_type": "text",
        "message_uuid": str(uuid4()),
        "text": text,
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "to": OUR_NUMBER.removeprefix("+"),
    }


def _by_twilio(url: str, fields: dict[str, str], _now: datetime) -> ReceiptCall:
    signature = twilio.sign(url, fields)
    headers = {"Content-Type": _FORM, "X-Twilio-Signature": signature}
    return ReceiptCall(url, headers, urlencode(fields).encode())


def _by_vonage_sms(url: str, fields: dict[str, str], _now: datetime) -> ReceiptCall:
    body = urlencode({**fields, "sig": vonage_sms.sign(fields)}).encode()
    return ReceiptCall(url, {"Content-Type": _FORM}, body)


def _by_vonage_messages(url: str, fields: dict[str, str], now: datetime) -> ReceiptCall:
    body = json.dumps(fields).encode()
    token = vonage_messages.sign(body, now)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    return ReceiptCall(url, headers, body)


_FIELDS: dict[str, Callable[[str, str, datetime], dict[str, Any]]] = {
    "TwilioSMS": _twilio_fields,
    "TwilioMMS": _twilio_fields,
    "VonageSMS": _vonage_sms_fields,
    "VonageMMS": _vonage_messages_fields,
}
_SIGNERS: dict[str, Callable[[str, dict[str, str], datetime], ReceiptCall]] = {
    "TwilioSMS": _by_twilio,
    "TwilioMMS": _by_twilio,
    "VonageSMS": _by_vonage_sms,
    "VonageMMS": _by_vonage_messages,
}
INBOUND_PROVIDERS = tuple(_FIELDS)
