"""Vonage's SMS API: status codes inside a 200, one entry and one receipt per part.

https://developer.vonage.com/en/api/sms
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode
from uuid import uuid4

from aiohttp import web

from routing.simulators import credentials
from routing.simulators.handset import Arrival, SimulatedMessage
from routing.simulators.http_wire import Call, HttpWire, Refusal
from routing.simulators.receipts import ReceiptCall
from routing.simulators.vonage_account import is_basic_authorized
from routing.text.segments import count_segments

PRICE = Decimal("0.0333")  # per part, in the account's currency
_NETWORK = "12345"
# The err-code of a receipt.
_ERROR_CODES = {Arrival.DELIVERED: "0", Arrival.OFF: "2", Arrival.LOST: "3"}
_NUMBER = re.compile(r"\d{7,15}")
_TEXT_LIMIT = 3200
_REFERENCE_LIMIT = 40
_TEXTS = {
    "1": "Throughput Rate Exceeded - please wait [ 250 ] and retry",
    "2": "Missing Parameters",
    "3": "Invalid Parameters",
    "4": "Bad Credentials",
    "5": "Internal Error",
    "6": "Invalid Message",
    "7": "Number Barred",
    "8": "Partner Account Barred",
    "9": "Partner Quota Violation",
    "10": "Too Many Existing Binds",
    "11": "Account Not Enabled For HTTP",
    "12": "Message Too Long",
    "14": "Invalid Signature",
    "15": "Invalid Sender Address",
    "22": "Invalid Network Code",
    "23": "Invalid Callback URL",
    "29": "Non-Whitelisted Destination",
    "32": "Signature And API Secret Disallowed",
    "33": "Number De-activated",
}


def sign(parameters: Mapping[str, str]) -> str:
    """The `sig` of a receipt: HMAC-SHA256 in capitals, as documented."""
    signed = "".join(
        f"&{key}={_defused(parameters[key])}" for key in sorted(parameters)
    )
    secret = credentials.VONAGE_SIGNATURE_SECRET.encode()
    return hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest().upper()


def _defused(value: str) -> str:
    return value.replace("&", "_").replace("=", "_")


class VonageSMSWire(HttpWire):
    """POST /sms/json, as a form or as JSON."""

    path = "/sms/json"
    throttle_code = "1"
    throttle_message = ""

    def provider_of(self, call: Call) -> str:
        return "VonageSMS"

    def take(self, call: Call) -> web.Response:
        parameters = _parameters(call)
        _check(call.headers, parameters)
        text = parameters.get("text", "")
        ids = [uuid4().hex[:16].upper() for _ in range(count_segments(text))]
        message = SimulatedMessage(
            provider="VonageSMS",
            external_message_id=ids[0],
            reference=parameters.get("client-ref", ""),
            recipient="+" + parameters["to"],
            body=text,
            segments=len(ids),
        )
        self.simulation.accept(
            message,
            on_arrival=lambda arrival: self._arrived(parameters, ids, arrival),
        )
        parts = [_part(parameters, message_id) for message_id in ids]
        return web.json_response({"message-count": str(len(ids)), "messages": parts})

    def refuse(self, refusal: Refusal) -> web.Response:
        text = refusal.message or _TEXTS.get(refusal.code, "Error")
        error = {"status": refusal.code, "error-text": text}
        return web.json_response(
            {"message-count": "1", "messages": [error]}, status=refusal.status or 200
        )

    def _arrived(
        self, parameters: Mapping[str, str], ids: list[str], arrival: Arrival
    ) -> None:
        if parameters.get("callback"):
            self.simulation.send_receipts(
                [_receipt(parameters, message_id, arrival) for message_id in ids]
            )


def _parameters(call: Call) -> dict[str, str]:
    """The fields of a form or of a JSON object; none if it is neither."""
    if "json" not in call.headers.get("Content-Type", ""):
        return {key: values[0] for key, values in call.form().items()}
    try:
        return {key: str(value) for key, value in call.json().items()}
    except (ValueError, AttributeError):
        return {}


def _check(headers: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    pair = (parameters.get("api_key"), parameters.get("api_secret"))
    if pair == (None, None) and "Authorization" not in headers:
        raise Refusal("2", "Missing api_key")
    known = (credentials.VONAGE_API_KEY, credentials.VONAGE_API_SECRET)
    if pair != known and not is_basic_authorized(headers):
        raise Refusal("4")
    for name in ("from", "to", "text"):
        if not parameters.get(name):
            raise Refusal("2", f"Missing {name} param")
    _check_values(parameters)


def _check_values(parameters: Mapping[str, str]) -> None:
    if not _NUMBER.fullmatch(parameters["to"]):
        raise Refusal("3", "Invalid to param")
    if len(parameters["text"]) > _TEXT_LIMIT:
        raise Refusal("12")
    if len(parameters.get("client-ref", "")) > _REFERENCE_LIMIT:
        raise Refusal("3", "Invalid client-ref param")
    if not parameters.get("callback", "http").startswith("http"):
        raise Refusal("23")


def _part(parameters: Mapping[str, str], message_id: str) -> dict[str, str]:
    part = {
        "to": parameters["to"],
        "message-id": message_id,
        "status": "0",
        "remaining-balance": "3141.59265000",
        "message-price": str(PRICE),
        "network": _NETWORK,
    }
    if reference := parameters.get("client-ref"):
        part["client-ref"] = reference
    return part


def _receipt(
    parameters: Mapping[str, str], message_id: str, arrival: Arrival
) -> ReceiptCall:
    now = datetime.now(UTC)
    receipt = {
        "msisdn": parameters["to"],
        "to": parameters["from"],
        "network-code": _NETWORK,
        "messageId": message_id,
        "price": str(PRICE),
        "status": "delivered" if arrival is Arrival.DELIVERED else "failed",
        "scts": f"{now:%y%m%d%H%M}",
        "err-code": _ERROR_CODES[arrival],
        "api-key": credentials.VONAGE_API_KEY,
        "message-timestamp": f"{now:%Y-%m-%d %H:%M:%S}",
        "timestamp": str(int(now.timestamp())),
        "nonce": str(uuid4()),
    }
    if reference := parameters.get("client-ref"):
        receipt["client-ref"] = reference
    receipt["sig"] = sign(receipt)
    return ReceiptCall(
        parameters["callback"],
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(receipt).encode(),
    )
