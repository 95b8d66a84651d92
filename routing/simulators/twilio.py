"""Twilio's Messages API: the resource, its errors and its status callbacks.

https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from aiohttp import web

from routing.simulators import credentials
from routing.simulators.handset import Arrival, SimulatedMessage
from routing.simulators.http_wire import Call, HttpWire, Refusal
from routing.simulators.receipts import ReceiptCall
from routing.simulators.simulation import Simulation
from routing.simulators.twilio_store import TwilioMessage, TwilioStore
from routing.text.segments import count_segments

ACCOUNT_PATH = f"/2010-04-01/Accounts/{credentials.TWILIO_ACCOUNT_SID}"
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_BODY_LIMIT = 1600
_MEDIA_LIMIT = 10

# Twilio's own test numbers.
_MAGIC_RECIPIENTS = {
    "+15005550001": "21211",
    "+15005550002": "21612",
    "+15005550003": "21408",
    "+15005550004": "21610",
    "+15005550009": "21614",
}
_ERROR_CODES = {Arrival.OFF: 30003, Arrival.LOST: 30005}
_TITLES = {
    "20003": "Authenticate",
    "20404": "The requested resource was not found",
    "20429": "Too Many Requests",
    "20500": "Internal Server Error",
    "20503": "Service Unavailable",
    "21211": "Invalid 'To' Phone Number",
    "21408": "Permission to send an SMS has not been enabled for the region",
    "21602": "Message body is required.",
    "21603": "A 'From' phone number is required.",
    "21604": "A 'To' phone number is required.",
    "21609": "The 'StatusCallback' URL is not a valid URL.",
    "21610": "Attempt to send to unsubscribed recipient",
    "21612": "The 'To' phone number is not currently reachable",
    "21614": "'To' number is not a valid mobile number",
    "21617": "The concatenated message body exceeds the 1600 character limit.",
    "21623": "Number of media files exceeds allowed limit.",
    "30003": "Unreachable destination handset",
    "30005": "Unknown destination handset",
}
_STATUSES = {"20003": 401, "20404": 404, "20429": 429, "20500": 500, "20503": 503}


def is_authorized(authorization: str | None) -> bool:
    """Whether the header is Basic with the simulated account's SID and token."""
    pair = f"{credentials.TWILIO_ACCOUNT_SID}:{credentials.TWILIO_AUTH_TOKEN}"
    return authorization == "Basic " + base64.b64encode(pair.encode()).decode()


def sign(url: str, parameters: dict[str, str]) -> str:
    """X-Twilio-Signature: of the full URL and the sorted parameters."""
    signed = url + "".join(key + parameters[key] for key in sorted(parameters))
    token = credentials.TWILIO_AUTH_TOKEN.encode()
    digest = hmac.new(token, signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


class TwilioWire(HttpWire):
    """POST, list and read of Messages. Media make a message an MMS."""

    path = f"{ACCOUNT_PATH}/Messages.json"
    throttle_code = "20429"

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self.store = TwilioStore()

    def routes(self) -> list[web.RouteDef]:
        one = f"{ACCOUNT_PATH}/Messages/{{sid}}.json"
        return [
            *super().routes(),
            web.get(self.path, self.read_list),
            web.get(one, self.read_one),
        ]

    def provider_of(self, call: Call) -> str:
        return "TwilioMMS" if b"MediaUrl=" in call.body else "TwilioSMS"

    def take(self, call: Call) -> web.Response:
        self._authorize(call.headers.get("Authorization"))
        form = call.form()
        _check(form)
        message = self.store.add(_message(form))
        resource = message.resource(ACCOUNT_PATH)  # before it is sent anywhere
        callback = form.get("StatusCallback", [""])[0]
        self.simulation.accept(
            _simulated(message, form, callback, self.provider_of(call)),
            on_arrival=lambda arrival: self._arrived(message, callback, arrival),
        )
        return web.json_response(resource, status=201)

    def refuse(self, refusal: Refusal) -> web.Response:
        status = refusal.status or _STATUSES.get(refusal.code, 400)
        error = {
            "code": int(refusal.code) if refusal.code.isdigit() else None,
            "message": refusal.message or _TITLES.get(refusal.code, "Bad request"),
            "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
            "status": status,
        }
        return web.json_response(error, status=status)

    def reset(self) -> None:
        self.store.clear()

    async def read_one(self, request: web.Request) -> web.StreamResponse:
        """GET Messages/{sid}.json"""
        sid = request.match_info["sid"]
        try:
            self._authorize(request.headers.get("Authorization"))
            message = self.store.find(sid)
        except Refusal as refusal:
            return self.refuse(refusal)
        except KeyError:
            return self.refuse(Refusal("20404"))
        return web.json_response(message.resource(ACCOUNT_PATH))

    async def read_list(self, request: web.Request) -> web.StreamResponse:
        """GET Messages.json, newest first, with Twilio's filters."""
        try:
            self._authorize(request.headers.get("Authorization"))
            if status := self.simulation.options.look_up_status:
                raise Refusal("20500", status=status)  # noqa: TRY301
            lag = timedelta(seconds=self.simulation.options.look_up_lag)
            page = self.store.page(
                request.query, ACCOUNT_PATH, until=datetime.now(UTC) - lag
            )
        except Refusal as refusal:
            return self.refuse(refusal)
        except ValueError as error:
            return self.refuse(Refusal("20001", str(error)))
        return web.json_response(page)

    def _authorize(self, authorization: str | None) -> None:
        if not is_authorized(authorization):
            raise Refusal("20003")

    def _arrived(self, message: TwilioMessage, callback: str, arrival: Arrival) -> None:
        final = "delivered" if arrival is Arrival.DELIVERED else "undelivered"
        code = _ERROR_CODES.get(arrival)
        message.finish(
            final,
            error_code=code,
            error_message=_TITLES.get(str(code)) if code else None,
        )
        if callback:
            self.simulation.send_receipts(
                [
                    _receipt(callback, message, "sent", None),
                    _receipt(callback, message, final, code),
                ]
            )


def _check(form: dict[str, list[str]]) -> None:
    """Refuse what Twilio refuses, in the same order."""
    recipient = form.get("To", [""])[0]
    if not recipient:
        raise Refusal("21604")
    if not form.get("From", [""])[0] and not form.get("MessagingServiceSid"):
        raise Refusal("21603")
    _check_content(form)
    if not _E164.fullmatch(recipient):
        raise Refusal("21211", f"Invalid 'To' Phone Number: {recipient}")
    if code := _MAGIC_RECIPIENTS.get(recipient):
        raise Refusal(code)


def _check_content(form: dict[str, list[str]]) -> None:
    body, media = form.get("Body", [""])[0], form.get("MediaUrl", [])
    if not body and not media:
        raise Refusal("21602")
    if len(body) > _BODY_LIMIT:
        raise Refusal("21617")
    if len(media) > _MEDIA_LIMIT:
        raise Refusal("21623")
    callback = form.get("StatusCallback", [""])[0]
    if callback and not callback.startswith(("http://", "https://")):
        raise Refusal("21609")


def _message(form: dict[str, list[str]]) -> TwilioMessage:
    body, media = form.get("Body", [""])[0], form.get("MediaUrl", [])
    return TwilioMessage(
        sid=("MM" if media else "SM") + uuid4().hex,
        recipient=form["To"][0],
        sender=form.get("From", [""])[0],
        body=body,
        segments=1 if media else count_segments(body),
        media_count=len(media),
        created_at=datetime.now(UTC),
    )


def _simulated(
    message: TwilioMessage, form: dict[str, list[str]], callback: str, provider: str
) -> SimulatedMessage:
    query = parse_qs(urlsplit(callback).query)
    return SimulatedMessage(
        provider=provider,
        external_message_id=message.sid,
        reference=query.get("reference", [""])[0],
        recipient=message.recipient,
        body=message.body,
        media_urls=tuple(form.get("MediaUrl", [])),
        segments=message.segments,
    )


def _receipt(
    callback: str, message: TwilioMessage, status: str, error_code: int | None
) -> ReceiptCall:
    parameters = {
        "AccountSid": credentials.TWILIO_ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageStatus": status,
        "SmsSid": message.sid,
        "SmsStatus": status,
        "To": message.recipient,
    }
    if error_code is not None:
        parameters["ErrorCode"] = str(error_code)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": sign(callback, parameters),
    }
    return ReceiptCall(callback, headers, urlencode(parameters).encode())
