"""Vonage's Messages API, for MMS: JSON in, a UUID out, receipts signed with a JWT.

https://developer.vonage.com/en/api/messages
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
from aiohttp import web

from routing.simulators import credentials
from routing.simulators.handset import Arrival, SimulatedMessage
from routing.simulators.http_wire import Call, HttpWire, Refusal
from routing.simulators.receipts import ReceiptCall
from routing.simulators.vonage_account import is_basic_authorized

_ERRORS = "https://developer.nexmo.com/api-errors"
_NUMBER = re.compile(r"[1-9]\d{6,14}")
_MEDIA_TYPES = ("image", "vcard", "audio", "video", "file")
_REFERENCE_LIMIT = 100
_USAGE = {"price": "0.0215", "currency": "EUR"}
_ERRORS_OF = {
    Arrival.OFF: ("1180", "Absent Subscriber Temporary"),
    Arrival.LOST: ("1190", "Absent Subscriber Permanent"),
}
_STATUSES = {
    "unauthorized": 401,
    "unprovisioned": 401,
    "low-balance": 402,
    "1000": 429,
    "1030": 500,
}
_TITLES = {
    "unauthorized": "You did not provide correct credentials.",
    "unprovisioned": "The credentials provided do not have access to the product",
    "low-balance": "Low balance",
    "invalid-json": "The request body did not contain valid JSON",
    "1000": "Rate Limit Hit",
    "1030": "Internal error",
    "1060": "Partner account barred",
    "1070": "Partner quota exceeded",
    "1120": "Invalid sender",
    "1140": "Invalid message type",
    "1150": "Invalid params",
    "1170": "Invalid recipient",
    "1240": "Illegal Number",
}


class VonageMessagesWire(HttpWire):
    """POST /v1/messages, channel mms."""

    path = "/v1/messages"
    throttle_code = "1000"
    throttle_message = "Please wait, then retry your request"

    def provider_of(self, call: Call) -> str:
        return "VonageMMS"

    def take(self, call: Call) -> web.Response:
        if not _is_authorized(call.headers):
            raise Refusal("unauthorized")
        sent = _read(call)
        _check(sent)
        message_uuid = str(uuid4())
        self.simulation.accept(
            _simulated(sent, message_uuid),
            on_arrival=lambda arrival: self._arrived(sent, message_uuid, arrival),
        )
        return web.json_response({"message_uuid": message_uuid}, status=202)

    def refuse(self, refusal: Refusal) -> web.Response:
        error = _problem(refusal.code, refusal.message)
        status = refusal.status or _STATUSES.get(refusal.code, 422)
        return web.json_response(error, status=status)

    def _arrived(
        self, sent: Mapping[str, Any], message_uuid: str, arrival: Arrival
    ) -> None:
        if url := sent.get("webhook_url"):
            is_delivered = arrival is Arrival.DELIVERED
            final = "delivered" if is_delivered else "undeliverable"
            self.simulation.send_receipts(
                [
                    _receipt(url, sent, message_uuid, "submitted"),
                    _receipt(url, sent, message_uuid, final, _ERRORS_OF.get(arrival)),
                ]
            )


def _is_authorized(headers: Mapping[str, str]) -> bool:
    """Basic, or any JWT: the simulated account has no application key to verify it."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    is_jwt = scheme == "Bearer" and token.count(".") == 2
    return is_jwt or is_basic_authorized(headers)


def _read(call: Call) -> dict[str, Any]:
    try:
        sent = call.json()
    except ValueError as error:
        raise Refusal("invalid-json", str(error)) from error
    if not isinstance(sent, dict):
        raise Refusal("invalid-json", "An object was expected")
    return sent


def _check(sent: Mapping[str, Any]) -> None:
    if sent.get("channel") != "mms":
        raise Refusal("1100", "The specified channel is not supported.")
    if not _NUMBER.fullmatch(str(sent.get("to", ""))):
        raise Refusal("1170", "The `to` parameter is invalid for the given channel.")
    if not sent.get("from"):
        raise Refusal("1120", "The `from` parameter is invalid for the given channel.")
    if len(str(sent.get("client_ref", ""))) > _REFERENCE_LIMIT:
        raise Refusal("1060", "The client reference is too long.")
    _check_content(sent)


def _check_content(sent: Mapping[str, Any]) -> None:
    kind = sent.get("message_type")
    if kind == "text" and sent.get("text"):
        return
    if kind not in _MEDIA_TYPES:
        raise Refusal("1140", "The `message_type` is invalid for the given channel.")
    media = sent.get(kind)
    if not isinstance(media, dict) or not media.get("url"):
        raise Refusal("1150", f"{kind}.url is required.")


def _simulated(sent: Mapping[str, Any], message_uuid: str) -> SimulatedMessage:
    media = sent.get(str(sent["message_type"]))
    media = media if isinstance(media, dict) else {}
    return SimulatedMessage(
        provider="VonageMMS",
        external_message_id=message_uuid,
        reference=str(sent.get("client_ref", "")),
        recipient=f"+{sent['to']}",
        body=str(sent.get("text") or media.get("caption", "")),
        media_urls=(str(media["url"]),) if media else (),
    )


def _problem(code: str, detail: str = "") -> dict[str, str]:
    """An error as in RFC 7807; numeric codes are the Messages API's, others general."""
    page = "messages-olympus" if code.isdigit() else ""
    title = _TITLES.get(code, "Error")
    return {
        "type": f"{_ERRORS}/{page}#{code}",
        "title": title,
        "detail": detail or title,
        "instance": uuid4().hex,
    }


def _receipt(
    url: str,
    sent: Mapping[str, Any],
    message_uuid: str,
    status: str,
    error: tuple[str, str] | None = None,
) -> ReceiptCall:
    now = datetime.now(UTC)
    receipt: dict[str, Any] = {
        "message_uuid": message_uuid,
        "to": sent["to"],
        "from": sent["from"],
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z",
        "status": status,
        "channel": "mms",
        "usage": _USAGE,
    }
    if "client_ref" in sent:
        receipt["client_ref"] = sent["client_ref"]
    if error:
        code, detail = error
        receipt["error"] = {**_problem(code, detail), "title": code}
    body = json.dumps(receipt).encode()
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {sign(body, now)}",
    }
    return ReceiptCall(url, headers, body)


def sign(body: bytes, now: datetime) -> str:
    """The JWT of a receipt, which carries the hash of its body."""
    claims = {
        "iat": int(now.timestamp()),
        "jti": str(uuid4()),
        "iss": "Vonage",
        "api_key": credentials.VONAGE_API_KEY,
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }
    return jwt.encode(claims, credentials.VONAGE_SIGNATURE_SECRET, algorithm="HS256")
