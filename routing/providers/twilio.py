"""Twilio Programmable Messaging: SMS and MMS.

https://www.twilio.com/docs/messaging/api/message-resource
https://www.twilio.com/docs/usage/webhooks/webhooks-security

Twilio takes no idempotency key and gives no client reference back, so our reference
travels in the query of the StatusCallback URL. It says itself that a repeated request
may double a message.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape

from routing.providers.base import (
    Acceptance,
    AccountError,
    CarrierCapReached,
    Enquiry,
    ForgedReceipt,
    Inbound,
    LookUpFailed,
    MalformedReceipt,
    MessageError,
    OutboundMessage,
    OutcomeUnknown,
    ProviderError,
    Receipt,
    RecipientError,
    SendFailure,
    Throttled,
    WebhookRequest,
)
from routing.providers.http import Answer, HttpProvider, basic_auth
from routing.providers.refusals import (
    OPTED_OUT,
    UNAVAILABLE,
    Table,
    cap_zone_of,
    error_class_of,
    is_opt_out,
    refused,
)
from routing.providers.twilio_messages import PAGE_SIZE, find_in
from routing.providers.wire import (
    as_amount,
    as_body,
    as_count,
    as_text,
    form_fields,
)
from routing.vocabulary import Channel, Keyword, MessageStatus

# Counted by the day of the US Pacific coast, per brand and carrier.
DAILY_CAP = partial(CarrierCapReached, zone="America/Los_Angeles")

# https://www.twilio.com/docs/api/errors. 2xxxx refuse the request; 3xxxx come later, in
# receipts. A sender that does not fit the destination is a ProviderError: another
# provider may have one that does.
CODES: Table = {
    "10001": AccountError,  # account is not active
    "11751": MessageError,  # media exceed the carrier's size limit
    "14107": Throttled,  # too often between the same two numbers
    "20003": AccountError,  # authentication or permission
    "20005": AccountError,  # account not active
    "20006": AccountError,  # access denied
    "20008": AccountError,  # test credentials
    "20010": AccountError,  # action disabled for account
    "20429": Throttled,  # too many requests
    "20503": UNAVAILABLE,
    "21211": RecipientError,  # invalid To
    "21212": AccountError,  # invalid From
    "21214": RecipientError,  # To cannot be reached; newer than the list of May 2023
    "21217": RecipientError,  # not a phone number
    "21401": RecipientError,  # invalid phone number
    "21408": ProviderError,  # region not enabled for us
    "21421": RecipientError,  # invalid phone number
    "21601": ProviderError,  # From cannot do SMS
    "21602": MessageError,  # no body
    "21603": AccountError,  # no From
    "21604": RecipientError,  # no To
    "21605": MessageError,  # body too long
    "21606": ProviderError,  # From cannot reach this destination
    "21607": AccountError,  # trial: From must be the sandbox number
    "21608": AccountError,  # trial: To is not verified
    "21609": AccountError,  # our StatusCallback is not a URL of the public internet
    "21610": OPTED_OUT,  # STOP
    "21611": ProviderError,  # From has ten hours of messages queued
    "21612": RecipientError,  # To cannot be reached by this route
    "21614": RecipientError,  # not a mobile number
    "21617": MessageError,  # more than 1600 characters
    "21619": MessageError,  # record cannot be created
    "21620": MessageError,  # invalid media URL
    "21623": MessageError,  # more than ten media
    "21658": MessageError,  # a parameter is too long
    "21703": ProviderError,  # Messaging Service has no number for this destination
    "21704": AccountError,  # Messaging Service has no numbers
    "21705": AccountError,  # Messaging Service is invalid
    "21730": UNAVAILABLE,  # maintenance
    "21910": ProviderError,  # From and To are of different channels
    "30001": ProviderError,  # queue overflow
    "30002": AccountError,  # account suspended
    "30003": ProviderError,  # handset off or out of reach: may work later
    "30004": RecipientError,  # blocked
    "30005": RecipientError,  # unknown handset
    "30006": RecipientError,  # landline, or carrier out of reach
    "30007": MessageError,  # filtered
    "30008": ProviderError,  # unknown error
    "30010": AccountError,  # price above our MaxPrice
    "30011": RecipientError,  # number cannot take MMS
    "30017": ProviderError,  # carrier congested
    "30018": ProviderError,  # carrier wants a registered sender
    "30019": MessageError,  # too large for the carrier
    "30022": Throttled,  # 10DLC rate
    "30023": DAILY_CAP,  # of the 10DLC brand
    "30024": ProviderError,  # sender not provisioned at the carrier
    "30027": DAILY_CAP,  # of the brand at T-Mobile
    "30032": ProviderError,  # toll-free number not verified
    "30033": AccountError,  # 10DLC campaign suspended
    "30034": ProviderError,  # 10DLC number not registered
    "30410": ProviderError,  # carrier timed out; Twilio does not try again
    "30450": MessageError,  # blocked
    "90010": AccountError,  # account is not active
}

# https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
# The others (accepted, scheduled, queued, sending, partially_delivered) are no verdict.
STATUSES = {
    "sent": MessageStatus.SENT,  # the carrier has it
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.DELIVERED,
    "failed": MessageStatus.FAILED,  # never left Twilio
    "canceled": MessageStatus.FAILED,
    "undelivered": MessageStatus.BOUNCED,  # the carrier or handset refused it
}
# What a Messaging Service with Advanced Opt-Out makes of a text, in any language.
OPT_OUT_TYPES = {"STOP": Keyword.STOP, "START": Keyword.START, "HELP": Keyword.HELP}
DEFAULT_PORTS = {"http": 80, "https": 443}


class _Twilio(HttpProvider):
    required_options = ("ACCOUNT_SID", "AUTH_TOKEN", "FROM", "BASE_URL")
    settling_seconds = 60.0
    codes = CODES

    def send(self, message: OutboundMessage) -> Acceptance:
        """Create a Message resource."""
        self.check(message)
        answer = self.http.post(
            self._messages_url(),
            body=urlencode(self._fields(message)).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                **self._authorization(),
            },
        )
        if not answer.is_success:
            raise self.refusal(answer)
        return _acceptance(answer)

    def check(self, message: OutboundMessage) -> None:
        """Raise MessageError for what the channel cannot carry."""
        raise NotImplementedError

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """`{"code": 21211, "message": …}`"""
        error = answer.json()
        return as_text(error.get("code")), as_text(error.get("message"))

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Find the one message to the recipient that can only be ours.

        By sender, time, media and text, for Twilio gives no reference back. Not by
        DateSent: a message that still waits in Twilio's queue has none.
        """
        query = {"To": enquiry.message.recipient, "PageSize": str(PAGE_SIZE)}
        if not self._is_service:
            query["From"] = str(self.options["FROM"])
        answer = self.fetch(
            f"{self._messages_url()}?{urlencode(query)}", headers=self._authorization()
        )
        found = find_in(answer, enquiry, may_be_reworded=self._is_service)
        return _looked_up(found, enquiry.message.reference) if found else None

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """One status callback. Its parameters may grow, so all of them are signed."""
        fields = form_fields(request.body)
        self._verify(request, fields)
        return [_receipt(request.url, dict(fields))]

    def read_inbound(self, request: WebhookRequest) -> Inbound:
        """A message to one of our numbers."""
        fields = form_fields(request.body)
        self._verify(request, fields)
        return _inbound(dict(fields))

    def inbound_answer(self, reply: str) -> str:
        """TwiML: https://www.twilio.com/docs/messaging/twiml"""
        return f"<Response><Message>{escape(reply)}</Message></Response>"

    @property
    def _is_service(self) -> bool:
        return str(self.options["FROM"]).startswith("MG")

    def _messages_url(self) -> str:
        account = self.options["ACCOUNT_SID"]
        return self.url(f"/2010-04-01/Accounts/{account}/Messages.json")

    def _authorization(self) -> dict[str, str]:
        return basic_auth(
            str(self.options["ACCOUNT_SID"]), str(self.options["AUTH_TOKEN"])
        )

    def _fields(self, message: OutboundMessage) -> list[tuple[str, str]]:
        sender = str(self.options["FROM"])
        fields = [
            ("To", message.recipient),
            ("MessagingServiceSid" if self._is_service else "From", sender),
        ]
        if message.body:
            fields.append(("Body", message.body))
        fields += [("MediaUrl", url) for url in message.media_urls]
        if receipt_url := self.options.get("RECEIPT_URL"):
            fields.append(
                ("StatusCallback", _with_reference(receipt_url, message.reference))
            )
        return fields

    def _verify(self, request: WebhookRequest, fields: list[tuple[str, str]]) -> None:
        given = request.headers.get("X-Twilio-Signature", "").encode()
        signatures = [self._signature(url, fields) for url in _spellings(request.url)]
        if not any(hmac.compare_digest(given, expected) for expected in signatures):
            raise ForgedReceipt("The signature does not match.")

    def _signature(self, url: str, fields: list[tuple[str, str]]) -> bytes:
        signed = url + "".join(name + value for name, value in sorted(set(fields)))
        key = str(self.options["AUTH_TOKEN"]).encode()
        return base64.b64encode(hmac.digest(key, signed.encode(), hashlib.sha1))


class TwilioSMS(_Twilio):
    """SMS through Twilio."""

    channel = Channel.SMS

    def check(self, message: OutboundMessage) -> None:
        """An SMS carries no media; with a MediaUrl, Twilio would make it an MMS."""
        if message.media_urls:
            raise MessageError("An SMS carries no media.")


class TwilioMMS(_Twilio):
    """MMS through Twilio."""

    channel = Channel.MMS

    def check(self, message: OutboundMessage) -> None:
        """Without a MediaUrl, Twilio would send, and charge, an SMS."""
        if not message.media_urls:
            raise MessageError("An MMS needs a media URL.")


def _acceptance(answer: Answer) -> Acceptance:
    resource = answer.json()
    sid = as_text(resource.get("sid"))
    if not sid:
        raise OutcomeUnknown("Twilio answered 2xx without a message SID.")
    if failure := _born_dead(resource.get("status"), resource.get("error_code")):
        raise failure
    cost = as_amount(resource.get("price"))  # null at first, as a rule
    return Acceptance(
        external_message_id=sid,
        # "0" until a Messaging Service has picked the sender
        segments=as_count(resource.get("num_segments")) or None,
        cost=cost,
        currency="" if cost is None else as_text(resource.get("price_unit")).upper(),
    )


def _born_dead(status: object, code: object) -> SendFailure | None:
    """A resource may be created as failed already."""
    if status in {"failed", "canceled"}:
        return refused(CODES, as_text(code), f"Twilio created the message as {status}.")
    return None


def _with_reference(url: str, reference: str) -> str:
    separator = "&" if urlsplit(url).query else "?"
    return f"{url}{separator}{urlencode({'reference': reference})}"


def _spellings(url: str) -> Iterator[str]:
    """The URL as it is, without its port, and with it also where it is the usual one.

    Twilio's own library tries both: what signs there does not always name the port.
    """
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    yield from {
        url,
        parts._replace(netloc=host).geturl(),
        parts._replace(netloc=f"{host}:{port}").geturl(),
    }


def _inbound(fields: dict[str, str]) -> Inbound:
    """A status callback that was pointed here by mistake has no Body."""
    sid, sender = as_text(fields.get("MessageSid")), as_text(fields.get("From"))
    if not sid or not sender or "Body" not in fields:
        raise MalformedReceipt("MessageSid, From or Body is missing.")
    return Inbound(
        event_id=sid,
        sender=sender,
        recipient=as_text(fields.get("To")),
        text=as_body(fields["Body"]),
        keyword=OPT_OUT_TYPES.get(fields.get("OptOutType", "")),
    )


def _receipt(url: str, fields: dict[str, str]) -> Receipt:
    sid = fields.get("MessageSid") or fields.get("SmsSid", "")
    status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
    if not sid or not status:
        raise MalformedReceipt("MessageSid or MessageStatus is missing.")
    return _told(
        sid=sid,
        status=status,
        reference=parse_qs(urlsplit(url).query).get("reference", [""])[0],
        recipient=fields.get("To", ""),
        code=fields.get("ErrorCode", ""),
        text=fields.get("ErrorMessage", ""),
    )


def _told(
    *, sid: str, status: str, reference: str, recipient: str, code: str, text: str
) -> Receipt:
    code = as_text(code) if code.strip("0") else ""
    return Receipt(
        event_id=f"{sid}:{status}",
        reference=reference,
        external_message_id=sid,
        recipient=as_text(recipient),
        status=STATUSES.get(status),
        provider_status=as_text(status),
        error_code=code,
        error_message=as_text(text),
        error_class=error_class_of(CODES, code),
        opted_out=is_opt_out(CODES, code),
        cap_zone=cap_zone_of(CODES, code),
    )


def _looked_up(resource: dict[str, Any], reference: str) -> Receipt:
    sid = as_text(resource.get("sid"))
    if not sid:
        raise LookUpFailed("Twilio's message has no SID.")
    cost = as_amount(resource.get("price"))
    told = _told(
        sid=sid,
        status=as_text(resource.get("status")),
        reference=reference,
        recipient=as_text(resource.get("to")),
        code=as_text(resource.get("error_code")),
        text=as_text(resource.get("error_message")),
    )
    return replace(
        told,
        cost=cost,
        currency="" if cost is None else as_text(resource.get("price_unit")).upper(),
        raw=json.dumps(resource),
    )
