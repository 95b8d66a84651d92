"""SendGrid's mail/send and its event webhook, which sends signed batches.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from routing.simulators import credentials
from routing.simulators.handset import Arrival, SimulatedMessage, one_click_url
from routing.simulators.http_wire import Call, HttpWire, Refusal
from routing.simulators.receipts import ReceiptCall
from routing.simulators.simulation import Simulation

PROVIDER = "SendGridEmail"
_MOST_PERSONALIZATIONS = 1000
_SUBSTITUTIONS_LIMIT = 10_000  # bytes per personalization
_NESTED_SUBSTITUTIONS = 4
_BATCH_SIZE = 100
_BATCH_SECONDS = 0.1
_MESSAGES = {
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    413: "content too large",
    429: "too many requests",
    500: "internal server error",
}

Event = dict[str, Any]


def sign(timestamp: str, body: bytes) -> str:
    """The signature of a batch of events: ECDSA over timestamp and body."""
    signed = timestamp.encode() + body
    signature = credentials.sendgrid_private_key().sign(
        signed, ec.ECDSA(hashes.SHA256())
    )
    return base64.b64encode(signature).decode()


class SendGridWire(HttpWire):
    """POST /v3/mail/send. Every recipient of every personalization is a message."""

    path = "/v3/mail/send"
    throttle_code = "429"
    throttle_message = "too many requests"

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._events: list[Event] = []
        self._flush_timer: asyncio.TimerHandle | None = None

    def provider_of(self, call: Call) -> str:
        return PROVIDER

    def take(self, call: Call) -> web.Response:
        if (
            call.headers.get("Authorization")
            != f"Bearer {credentials.SENDGRID_API_KEY}"
        ):
            raise Refusal("401")
        mail = _read(call)
        message_id = uuid4().hex[:22]
        for message, arguments in _messages(mail, message_id):
            self._accept(message, arguments)
        return web.Response(status=202, headers={"X-Message-Id": message_id})

    def refuse(self, refusal: Refusal) -> web.Response:
        """SendGrid only has HTTP status codes; ours may be followed by `:field`."""
        code, _, field = refusal.code.partition(":")
        status = refusal.status or int(code or 400)
        error = {"message": refusal.message or _MESSAGES.get(status, "Bad Request")}
        if field:
            error["field"] = field
        response = web.json_response({"errors": [error]}, status=status)
        if status == 429:
            response.headers["X-RateLimit-Limit"] = "600"
            response.headers["X-RateLimit-Remaining"] = "0"
            response.headers["X-RateLimit-Reset"] = str(int(time.time()) + 1)
        return response

    def reset(self) -> None:
        self._events.clear()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    def _accept(self, message: SimulatedMessage, arguments: Mapping[str, Any]) -> None:
        self.simulation.accept(
            message,
            on_arrival=lambda arrival: self._arrived(message, arguments, arrival),
            is_reachable=not message.recipient.startswith("unknown"),
        )

    def _arrived(
        self,
        message: SimulatedMessage,
        arguments: Mapping[str, Any],
        arrival: Arrival,
    ) -> None:
        self._events.append(_event("processed", message, arguments))
        last = "delivered" if arrival is Arrival.DELIVERED else "bounce"
        self._events.append(_event(last, message, arguments))
        if len(self._events) >= _BATCH_SIZE:
            self._flush()
        elif self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(_BATCH_SECONDS, self._flush)

    def _flush(self) -> None:
        """Post the events so far as one batch, and start the next."""
        events = self._events.copy()
        self.reset()
        url = f"{self.simulation.options.public_url}/webhooks/{PROVIDER}/"
        self.simulation.send_receipts([_batch(url, events)])


def _batch(url: str, events: list[Event]) -> ReceiptCall:
    body = json.dumps(events).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-Twilio-Email-Event-Webhook-Signature": sign(timestamp, body),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return ReceiptCall(url, headers, body)


def _event(name: str, message: SimulatedMessage, arguments: Mapping[str, Any]) -> Event:
    event: Event = {
        **arguments,
        "email": message.recipient,
        "timestamp": int(time.time()),
        "event": name,
        "smtp-id": f"<{message.external_message_id}@simulated>",
        "sg_event_id": base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("="),
        "sg_message_id": message.external_message_id,
    }
    return event | _DETAILS.get(name, {})


_DETAILS: dict[str, dict[str, str]] = {
    "delivered": {"response": "250 2.0.0 OK"},
    "bounce": {
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The e-mail account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
    },
}


def _read(call: Call) -> dict[str, Any]:
    """The mail, with the checks that SendGrid makes before its 202."""
    try:
        mail = call.json()
        _check(mail)
    except (ValueError, TypeError, AttributeError) as error:
        raise Refusal("400", "Bad Request") from error
    return dict(mail)


def _check(mail: Mapping[str, Any]) -> None:
    personalizations = mail.get("personalizations") or []
    if not personalizations:
        raise Refusal(
            "400:personalizations",
            "The personalizations field is required and must have at least one "
            "personalization.",
        )
    if not _is_address(mail.get("from")):
        raise Refusal(
            "400:from.email", "The from email does not contain a valid address."
        )
    if not mail.get("content") and not mail.get("template_id"):
        raise Refusal(
            "400:content",
            "Unless a valid template_id is provided, the content "
            "parameter is required.",
        )
    if len(personalizations) > _MOST_PERSONALIZATIONS:
        raise Refusal(
            "400:personalizations",
            "The personalization block is limited to 1000 personalizations per API "
            f"request. You have provided {len(personalizations)} personalizations.",
        )
    for index, personalization in enumerate(personalizations):
        _check_recipients(index, personalization)
        _check_substitutions(index, personalization)
    _check_unique(personalizations)


def _check_recipients(index: int, personalization: Mapping[str, Any]) -> None:
    recipients = personalization.get("to") or [None]
    for position, recipient in enumerate(recipients):
        if not _is_address(recipient):
            raise Refusal(
                f"400:personalizations.{index}.to.{position}.email",
                "Does not contain a valid address.",
            )


def _check_substitutions(index: int, personalization: Mapping[str, Any]) -> None:
    substitutions = personalization.get("substitutions", {})
    size = sum(len(f"{tag}{text}".encode()) for tag, text in substitutions.items())
    if size > _SUBSTITUTIONS_LIMIT:
        raise Refusal(
            f"400:personalizations.{index}.substitutions",
            "Substitutions are limited to 10000 bytes per personalization block.",
        )
    if not all(isinstance(text, str) for text in substitutions.values()):
        raise Refusal("400", "Bad Request")


def _check_unique(personalizations: Iterable[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for personalization in personalizations:
        for address in _recipients(personalization):
            if address.lower() in seen:
                raise Refusal(
                    "400:personalizations",
                    "Each unique email address in the personalizations array should "
                    f"only be included once. You have included {address} more than "
                    "once.",
                )
            seen.add(address.lower())


def _is_address(value: Any) -> bool:
    email = value.get("email") if isinstance(value, dict) else None
    local, _, domain = str(email or "").rpartition("@")
    return bool(local and "." in domain)


def _messages(
    mail: Mapping[str, Any], message_id: str
) -> Iterator[tuple[SimulatedMessage, Mapping[str, Any]]]:
    """Each recipient's message, with the arguments that its events carry.

    All ids start with the call's id.
    """
    content = mail.get("content") or [{}]
    places = itertools.count()
    for personalization in mail["personalizations"]:
        arguments = mail.get("custom_args", {}) | personalization.get("custom_args", {})
        headers = mail.get("headers", {}) | personalization.get("headers", {})
        tags = personalization.get("substitutions", {})
        subject = personalization.get("subject", mail.get("subject", ""))
        for recipient in _recipients(personalization):
            message = SimulatedMessage(
                provider=PROVIDER,
                external_message_id=f"{message_id}.recvd-simulated-{next(places)}",
                reference=str(arguments.get("reference", "")),
                recipient=recipient,
                subject=_substituted(str(subject), tags),
                body=_substituted(str(content[0].get("value", "")), tags),
                unsubscribe_url=one_click_url(headers),
            )
            yield message, arguments


def _substituted(text: str, tags: Mapping[str, str]) -> str:
    """Like SendGrid: also within substituted text, four levels deep."""
    for _ in range(_NESTED_SUBSTITUTIONS):
        for tag, value in tags.items():
            text = text.replace(tag, value)
    return text


def _recipients(personalization: Mapping[str, Any]) -> Iterator[str]:
    for field in ("to", "cc", "bcc"):
        for recipient in personalization.get(field, []):
            yield recipient["email"]
