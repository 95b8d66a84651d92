"""SendGrid: e-mail, through django-anymail.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event

Anymail knows SendGrid's payload and its events; our HTTP client carries them, so that
deadlines, limits and errors are handled as for every provider. The events return the
UUID that Anymail gives each message, and our reference.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import requests
from anymail.backends.sendgrid import EmailBackend
from anymail.exceptions import (
    AnymailError,
    AnymailNotSupportedWarning,
    AnymailWebhookValidationFailure,
)
from anymail.message import AnymailRecipientStatus
from anymail.signals import AnymailTrackingEvent, EventType
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from django.core.handlers.wsgi import WSGIRequest
from django.core.mail import EmailMessage

from routing.providers.base import (
    Acceptance,
    AccountError,
    BatchRejected,
    Enquiry,
    ForgedReceipt,
    LookUpFailed,
    MalformedReceipt,
    MessageError,
    OutboundMessage,
    OutcomeUnknown,
    Receipt,
    RecipientError,
    SendFailure,
    UnmappedError,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.error_codes import Table, refused
from routing.providers.options import DocsRow, Option
from routing.providers.sendgrid_batches import (
    RECIPIENT_FIELD,
    batch_key,
    compose_batch,
    place_of,
)
from routing.providers.sendgrid_bounces import bounce_class
from routing.providers.transport.http import RETRY_AFTER_LIMIT, Answer, HttpProvider
from routing.providers.transport.mail import check, compose
from routing.providers.transport.signatures import (
    DEFAULT_MAX_AGE_SECONDS,
    problem_with_max_age,
    require_recent,
)
from routing.text.untrusted import as_count, as_object, as_text, json_value
from routing.vocabulary import Channel, ErrorClass, MessageStatus

logger = logging.getLogger(__name__)

SENDER_FIELD = "from"  # also "from.email"

# SendGrid has no codes of its own, but names the field that it rejects. An SMTP server
# may accept what it rejects in a message, such as an empty subject.
CODES: Table = {
    "400": UnsuitableError,
    "401": AccountError,  # key, or credits used up
    "403": AccountError,  # scope of the key, or sender identity not verified
    "406": AccountError,  # our Accept header
    "413": UnsuitableError,  # more than 30 MB
    "415": AccountError,  # our Content-Type
    SENDER_FIELD: AccountError,
    RECIPIENT_FIELD: RecipientError,
}
# These say nothing about the other messages of a call.
_OF_ONE = (RecipientError, MessageError, UnmappedError)

# `processed` and `deferred` are no verdict; nor are opens and clicks, which mail
# scanners cause as well.
STATUSES = {
    EventType.DELIVERED: MessageStatus.DELIVERED,
    EventType.BOUNCED: MessageStatus.BOUNCED,
    EventType.REJECTED: MessageStatus.FAILED,  # dropped by SendGrid
    EventType.FAILED: MessageStatus.FAILED,
    EventType.COMPLAINED: MessageStatus.DELIVERED,  # who reports a mail has received it
}
# `reason` of a dropped event: SendGrid keeps suppression lists of its own.
UNSUBSCRIBED, REPORTED = "unsubscribed address", "spam reporting address"
DROP_REASONS = {
    UNSUBSCRIBED: ErrorClass.RECIPIENT,
    REPORTED: ErrorClass.RECIPIENT,
    "bounced address": ErrorClass.RECIPIENT,
    "invalid": ErrorClass.RECIPIENT,
    "recipient list over package quota": ErrorClass.ACCOUNT,
}
ACCEPTED = {"queued", "sent"}

# The simulator signs with the private half: `routing.simulators.credentials`.
SIMULATED_PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjeBdmsmsAEk0/JlaTOAvbcJpiHlliu2zMGyy3AMVQCRd"
    "Vi864Wqm8FCQyCXMJn+FsUkB8ayVGTm2Dxg+QV8T7A=="
)


class SendGridEmail(HttpProvider):
    """E-mail through SendGrid's v3 API."""

    channel = Channel.EMAIL
    declared_options = (
        Option("API_KEY", "SENDGRID_API_KEY", is_required=True),
        Option("FROM", "EMAIL_FROM", is_required=True),
        Option(
            "WEBHOOK_VERIFICATION_KEY",
            "SENDGRID_WEBHOOK_VERIFICATION_KEY",
            help="without it every receipt is refused",
        ),
        Option(
            "BASE_URL",
            "SENDGRID_BASE_URL",
            default="https://api.sendgrid.com/v3/",
            is_required=True,
            help="another region, or a proxy",
        ),
        Option(
            "MAX_BATCH",
            "SENDGRID_MAX_BATCH",
            default=1000,
            help="messages per call, at most 1000; 1: each alone",
        ),
    )
    docs = DocsRow(
        receipts="batches of events, ECDSA, ± 5 minutes", reference="`custom_args`"
    )
    simulator = "sendgrid"
    account_option = "API_KEY"
    codes = CODES
    max_batch = 1000

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        return {
            "BASE_URL": f"http://127.0.0.1:{port}/v3/",
            "API_KEY": "SG.simulated",
            "WEBHOOK_VERIFICATION_KEY": SIMULATED_PUBLIC_KEY,
            "FROM": "Campaigns <campaigns@example.com>",
            "SETTLING_SECONDS": 1.0,
            "UNIT_PRICE": "0.0004",  # made up
            "CURRENCY": "USD",
        }

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        key = str(self.options["WEBHOOK_VERIFICATION_KEY"])
        with warnings.catch_warnings():
            # Anymail warns that it has no account to test SendGrid with. We have tests.
            warnings.simplefilter("ignore", AnymailNotSupportedWarning)
            self._backend = EmailBackend(
                api_key=self.options["API_KEY"], api_url=self.options["BASE_URL"]
            )
            self._webhook = _webhook(key)
        self._backend.session = _session(self)

    def send(self, message: OutboundMessage) -> Acceptance:
        """Send the e-mail; SendGrid answers 202 with an empty body."""
        email = compose(message, sender=self.options["FROM"])
        email.metadata = {"reference": message.reference}  # type: ignore[attr-defined]
        try:
            statuses = self._deliver(email)
        except _Refused as refused_call:
            raise self.refusal(refused_call.answer) from None
        return _acceptance(statuses[email.to[0]])

    def batch_key(self, message: OutboundMessage) -> Hashable | None:
        """What cannot be sent at all goes alone, so that `send` says why."""
        try:
            check(message, sender=self.options["FROM"])
        except SendFailure:
            return None
        return batch_key(message)

    def send_batch(
        self, messages: Sequence[OutboundMessage]
    ) -> list[Acceptance | SendFailure]:
        """Each is a personalization; SendGrid accepts all of them, or none."""
        try:
            email = compose_batch(messages, sender=self.options["FROM"])
            statuses = self._deliver(email)
        except _Refused as refused_call:
            return self._refusals(refused_call.answer, len(messages))
        except MessageError as error:  # one of them cannot be encoded, unknown which
            raise BatchRejected(str(error), goes_alone=True) from None
        return [_acceptance(statuses[recipient]) for recipient in email.to]

    def _refusals(self, answer: Answer, count: int) -> list[Acceptance | SendFailure]:
        """A failure for each recipient that the answer names; the others go again."""
        failure = self.refusal(answer)
        if not isinstance(failure, _OF_ONE):
            raise failure
        named = {
            place: refused(self.codes, RECIPIENT_FIELD, text)
            for field, text in _errors(answer)
            if (place := place_of(field)) is not None and place < count
        }
        beside = BatchRejected(
            f"Refused with its call: {failure}", goes_alone=not named
        )
        return [named.get(place, beside) for place in range(count)]

    def _deliver(self, email: EmailMessage) -> Mapping[str, AnymailRecipientStatus]:
        """What Anymail says of each recipient; raises _Refused or a SendFailure."""
        try:
            self._backend.send_messages([email])
        except requests.RequestException as error:
            # Raised before the request; later errors are SendFailures already. Without
            # the cause, whose text may contain the key.
            name = type(error).__name__
            raise AccountError(f"API_KEY or BASE_URL is unusable: {name}") from None
        except (AnymailError, ValueError) as error:
            raise MessageError(f"Not sendable: {type(error).__name__}") from None
        return email.anymail_status.recipients  # type: ignore[attr-defined, no-any-return]

    def exchange(self, request: requests.PreparedRequest) -> Answer:
        """Send a request of Anymail's; called through the session of its backend."""
        body = request.body or b""
        answer = self.http.post(
            request.url or "",
            body=body.encode() if isinstance(body, str) else body,
            headers=request.headers,
        )
        if not answer.is_success:
            raise _Refused(answer)
        return answer

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """The first error; its field is the code if the table has it."""
        field, text = (_errors(answer) or [("", "")])[0]
        if field.partition(".")[0] == SENDER_FIELD:
            field = SENDER_FIELD
        return field if field in self.codes else str(answer.status), text

    def retry_after(self, answer: Answer) -> timedelta | None:
        """SendGrid gives the time at which its limit is reset, in seconds."""
        reset = as_count(answer.headers.get("X-RateLimit-Reset"))
        if reset is None:
            return super().retry_after(answer)
        wait = timedelta(seconds=reset - self.clock().timestamp())
        return min(wait, RETRY_AFTER_LIMIT) if wait > timedelta() else None

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Find the e-mail with our reference in the Email Activity feed.

        An add-on of the account, so only with SETTLING_SECONDS. Its query language:
        https://www.twilio.com/docs/sendgrid/for-developers/sending-email/getting-started-email-activity-api
        """
        called = " OR ".join(
            f"unique_args['reference']=\"{each}\"" for each in enquiry.references
        )
        query = {"limit": "2", "query": f"({called})"}
        answer = self.fetch(
            self.url(f"/messages?{urlencode(query)}"),
            headers={"Authorization": f"Bearer {self.options['API_KEY']}"},
        )
        messages = answer.json().get("messages")
        if not isinstance(messages, list):
            raise LookUpFailed("SendGrid's answer has no list of messages.")
        reference = enquiry.message.reference
        return _looked_up(as_object(messages[0]), reference) if messages else None

    def problem_with_receipts(self) -> str:
        """SendGrid signs with a private key; we are given the public one."""
        if not self.options.get("WEBHOOK_VERIFICATION_KEY"):
            return "SENDGRID_WEBHOOK_VERIFICATION_KEY is not set."
        if self._webhook is None:
            return "SENDGRID_WEBHOOK_VERIFICATION_KEY is not a public key."
        return problem_with_max_age(self.options)

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """A batch of events. Anything else in it is logged and left out."""
        view = self._verified_by(request)
        events = json_value(request.body)
        if not isinstance(events, list):
            raise MalformedReceipt("A list of events was expected.")
        return [receipt for event in events if (receipt := _receipt(view, event))]

    def _verified_by(self, request: WebhookRequest) -> SendGridTrackingWebhookView:
        if self._webhook is None:
            raise ForgedReceipt(f"{self.name} has no WEBHOOK_VERIFICATION_KEY.")
        try:
            self._webhook.run_validators(_django_request(request))
        except (AnymailWebhookValidationFailure, ValueError) as error:
            raise ForgedReceipt("The signature does not match.") from error
        max_age = float(self.options.get("RECEIPT_MAX_AGE", DEFAULT_MAX_AGE_SECONDS))
        # SendGrid signs each of its retries anew, so an old signature is a replay.
        require_recent(
            _signed_at(request), now=self.clock(), max_age=timedelta(seconds=max_age)
        )
        return self._webhook


class _Refused(Exception):
    """SendGrid did not accept the call."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _errors(answer: Answer) -> list[tuple[str, str]]:
    """`{"errors": [{"message": …, "field": "from.email", "help": …}]}`, field first."""
    errors = answer.json().get("errors")
    found = []
    for error in map(as_object, errors if isinstance(errors, list) else []):
        field, text = as_text(error.get("field")), as_text(error.get("message"))
        found.append((field, f"{text} ({field})" if field else text))
    return found


def _acceptance(status: AnymailRecipientStatus) -> Acceptance:
    if status.status not in ACCEPTED:
        raise OutcomeUnknown("SendGrid did not say that it accepted the e-mail.")
    return Acceptance(external_message_id=as_text(status.message_id))


def _looked_up(activity: dict[str, Any], reference: str) -> Receipt:
    """`not_delivered` is anything from deferred to bounced, so no verdict."""
    status = as_text(activity.get("status"))
    return Receipt(
        event_id=f"{reference}:{status}",  # a `msg_id` may belong to a whole call
        reference=reference,
        external_message_id="",  # receipts have Anymail's, which is not in the feed
        recipient=as_text(activity.get("to_email")),
        status=MessageStatus.DELIVERED if status == "delivered" else None,
        provider_status=status,
        raw=json.dumps(activity),
    )


class _Carrier(requests.adapters.BaseAdapter):
    """Hands the requests of a session to our client."""

    def __init__(self, provider: SendGridEmail) -> None:
        super().__init__()
        self.provider = provider

    def send(
        self, request: requests.PreparedRequest, *_: Any, **__: Any
    ) -> requests.Response:
        answer = self.provider.exchange(request)
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        response._content = answer.body
        response.request, response.url = request, request.url or ""
        return response

    def close(self) -> None:
        """There is nothing to close."""


def _session(provider: SendGridEmail) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a .netrc would replace our Authorization header
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Carrier(provider))
    return session


def _webhook(key: str) -> SendGridTrackingWebhookView | None:
    """Anymail's view, which verifies and reads; None without a usable key."""
    if not key:
        return None
    try:
        return SendGridTrackingWebhookView(tracking_webhook_verification_key=key)
    except ValueError:
        logger.error("WEBHOOK_VERIFICATION_KEY of SendGrid is not a public key.")  # noqa: TRY400
        return None


def _django_request(request: WebhookRequest) -> WSGIRequest:
    environ: dict[str, Any] = {
        "HTTP_" + name.upper().replace("-", "_"): value
        for name, value in request.headers.items()
    }
    return WSGIRequest(
        environ
        | {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.input": BytesIO(request.body),
        }
    )


def _signed_at(request: WebhookRequest) -> datetime:
    text = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    seconds = as_count(text)
    if seconds is None or seconds > 1 << 33:  # the year 2242
        raise ForgedReceipt("The time of the signature is no number.")
    return datetime.fromtimestamp(seconds, tz=UTC)


def _receipt(view: SendGridTrackingWebhookView, event: Any) -> Receipt | None:
    try:
        return _translated(view.esp_to_anymail_event(event))
    except (AttributeError, KeyError, OverflowError, OSError, TypeError, ValueError):
        logger.warning("SendGrid sent something that is no event.", exc_info=True)
        return None


def _translated(event: AnymailTrackingEvent) -> Receipt:
    raw = event.esp_event
    provider_status, reason = as_text(raw["event"]), as_text(raw.get("reason"))
    external_id = as_text(event.message_id)
    return Receipt(
        event_id=as_text(event.event_id)
        or f"{external_id}:{provider_status}:{as_text(raw.get('timestamp'))}",
        reference=as_text(event.metadata.get("reference")),
        external_message_id=external_id,
        status=STATUSES.get(event.event_type),
        provider_status=provider_status,
        recipient=as_text(raw.get("email")),
        occurred_at=event.timestamp,
        error_code=as_text(raw.get("status")),
        error_message=reason or as_text(raw.get("response")),
        error_class=_error_class(event, reason),
        opted_out=event.event_type == EventType.UNSUBSCRIBED
        or reason.lower() == UNSUBSCRIBED,
        complained=event.event_type == EventType.COMPLAINED
        or reason.lower() == REPORTED,
        # The whole call beside each of its hundreds of events would be its square.
        raw=json.dumps(raw),
    )


def _error_class(event: AnymailTrackingEvent, reason: str) -> ErrorClass | None:
    if event.event_type == EventType.BOUNCED:
        return bounce_class(event.esp_event)
    if event.event_type == EventType.REJECTED:
        return DROP_REASONS.get(reason.lower(), ErrorClass.PROVIDER)
    return None
