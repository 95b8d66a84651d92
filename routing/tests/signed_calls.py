"""Webhook calls as the providers sign them, and ways to falsify them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.db.models import Q
from django.http import HttpResponse
from django.test import Client
from django.test.client import ClientHandler
from django.utils import timezone

from marketing_platform.webhook_handler import WebhookHandler
from messaging.models import CampaignMessage
from messaging.queue.receipts import apply_receipts
from routing.reference import AttemptReference, has_seal, reference_for
from routing.simulators import sendgrid, twilio, vonage_messages, vonage_sms
from routing.simulators.receipts import ReceiptCall

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One POST, for Django's test client."""

    path: str
    body: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, client: Any) -> Any:
        """The response; by then a worker has applied the stored receipts."""
        answer = self.call(client)
        apply_receipts(now=timezone.now())
        return answer

    def call(self, client: Any) -> Any:
        """The response only."""
        return client.post(
            self.path, self.body, content_type=self.content_type, headers=self.headers
        )

    def unsigned(self) -> Call:
        """The same without signature: Vonage's is in the body for SMS."""
        body = self.body.partition(b"&sig=")[0]
        return replace(self, headers={}, body=body)

    def altered(self) -> Call:
        """The same signature over another text."""
        return replace(self, body=self.body.replace(b"delivered", b"rejected"))

    def to(self, provider: str) -> Call:
        return replace(self, path=f"/webhooks/{provider}/")


class WebhookHandlerClient(Client):
    """Django's test client, behind the handler of webhook calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, HTTP_HOST="testserver")
        self.handler = _WithWebhookHandler(options.get("enforce_csrf_checks", True))


class _WithWebhookHandler(ClientHandler):
    def __call__(self, environ: dict[str, Any]) -> Any:
        answers: list[Any] = []

        def django(environ: dict[str, Any], start: object) -> list[bytes]:
            answers.append(ClientHandler.__call__(self, environ))
            return []

        def start(status: str, headers: object) -> None:
            answers.append(HttpResponse(status=int(status.split()[0])))
            answers[0].wsgi_request = None

        # Django's test client keeps the connection of the test's transaction as well.
        with patch("marketing_platform.webhook_handler.close_old_connections"):
            WebhookHandler(django)(environ, start)
        return answers[0]


# A provider's receipt, by default "delivered". `values` replace or, as None, remove.
# A reference without a seal, such as "m12a1", is replaced by the one that the provider
# was given, along with the message's recipient. `Unsealed` stays as it is.
Signer = Callable[..., Call]
ELSEWHERE = {"number": "+14155559999", "address": "ada@example.com"}


class Unsealed(str):
    """A reference from before there were seals, or a guessed one."""

    __slots__ = ()


def given_to(provider: str, reference: str) -> str:
    """The reference that the provider was given, and returns."""
    about = AttemptReference.parse(reference)
    if about is None or has_seal(reference) or isinstance(reference, Unsealed):
        return reference
    return reference_for(*about, provider=provider)


def recipient_of(reference: str, external_id: str, kind: str = "number") -> str:
    """The recipient of the message, by reference or else by the provider's id."""
    about = AttemptReference.parse(reference)
    messages = CampaignMessage.objects.filter(
        Q(pk=about.message_id)
        if about
        else Q(attempts__external_message_id=external_id)
    )
    found = messages.first()
    return found.recipient if found else ELSEWHERE[kind]


def by_twilio(reference: str, external_id: str, **values: str | None) -> Call:
    path = f"/webhooks/TwilioSMS/?reference={given_to('TwilioSMS', reference)}"
    fields = {"MessageSid": external_id, "MessageStatus": "delivered"}
    fields = _changed({**fields, "To": recipient_of(reference, external_id)}, values)
    signature = twilio.sign(f"{settings.PUBLIC_URL}{path}", fields)
    headers = {"X-Twilio-Signature": signature}
    return Call(path, urlencode(fields).encode(), FORM, headers)


def by_vonage_sms(
    reference: str,
    external_id: str,
    *,
    age: timedelta = timedelta(0),
    **values: str | None,
) -> Call:
    signed_at = int((datetime.now(UTC) - age).timestamp())
    fields = {
        "messageId": external_id,
        "status": "delivered",
        "msisdn": recipient_of(reference, external_id).removeprefix("+"),
        "client-ref": given_to("VonageSMS", reference),
        "timestamp": str(signed_at),
    }
    fields = _changed(fields, values)
    body = urlencode({**fields, "sig": vonage_sms.sign(fields)}).encode()
    return Call("/webhooks/VonageSMS/", body, FORM)


def by_vonage_mms(
    reference: str,
    external_id: str,
    *,
    age: timedelta = timedelta(0),
    **values: str | None,
) -> Call:
    document = {
        "message_uuid": external_id,
        "status": "delivered",
        "to": recipient_of(reference, external_id).removeprefix("+"),
        "client_ref": given_to("VonageMMS", reference),
    }
    body = json.dumps(_changed(document, values)).encode()
    token = vonage_messages.sign(body, datetime.now(UTC) - age)
    headers = {"Authorization": f"Bearer {token}"}
    return Call("/webhooks/VonageMMS/", body, JSON, headers)


def by_sendgrid(
    reference: str,
    external_id: str,
    *,
    age: timedelta = timedelta(0),
    **values: str | None,
) -> Call:
    event = {
        "event": "delivered",
        "email": recipient_of(reference, external_id, "address"),
        "timestamp": int(time.time()),
        "sg_event_id": f"{external_id}-delivered",
        "anymail_id": external_id,
        "reference": given_to("SendGridEmail", reference),
    }
    return sendgrid_batch([_changed(event, values)], age=age)


def sendgrid_batch(events: Any, *, age: timedelta = timedelta(0)) -> Call:
    body = json.dumps(events).encode()
    timestamp = str(int((datetime.now(UTC) - age).timestamp()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": sendgrid.sign(timestamp, body),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return Call("/webhooks/SendGridEmail/", body, JSON, headers)


def from_simulator(call: ReceiptCall) -> Call:
    """A simulator's call, to be posted by the test itself."""
    headers = dict(call.headers)
    content_type = headers.pop("Content-Type")
    return Call(urlsplit(call.url).path, call.body, content_type, headers)


SIGNERS: dict[str, Signer] = {
    "TwilioSMS": by_twilio,
    "VonageSMS": by_vonage_sms,
    "VonageMMS": by_vonage_mms,
    "SendGridEmail": by_sendgrid,
}


def _changed(fields: dict[str, Any], values: dict[str, str | None]) -> dict[str, Any]:
    return {key: v for key, v in {**fields, **values}.items() if v is not None}
