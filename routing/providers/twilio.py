"""Twilio Programmable Messaging: SMS and MMS.

https://www.twilio.com/docs/messaging/api/message-resource
https://www.twilio.com/docs/usage/webhooks/webhooks-security

Twilio takes no idempotency key and returns no client reference, so our reference
travels in the query of the StatusCallback URL. By its own documentation a repeated
request may send a message twice.
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
    HandsetOff,
    Inbound,
    LookUpFailed,
    MalformedReceipt,
    MessageError,
    NotNow,
    OutboundMessage,
    OutcomeUnknown,
    ProviderError,
    Receipt,
    RecipientError,
    SendFailure,
    Throttled,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.error_codes import (
    OPTED_OUT,
    RECIPIENTS_LIMIT,
    UNAVAILABLE,
    Table,
    cap_zone_of,
    error_class_of,
    is_opt_out,
    refused,
)
from routing.providers.options import DocsRow, Option
from routing.providers.transport.http import Answer, HttpProvider, basic_auth
from routing.providers.twilio_messages import PAGE_SIZE, find_in
from routing.text.untrusted import (
    as_amount,
    as_body,
    as_count,
    as_text,
    form_fields,
)
from routing.vocabulary import Channel, Keyword, MessageStatus

# Counted by the day of the US Pacific coast, per brand and carrier.
DAILY_CAP = partial(CarrierCapReached, zone="America/Los_Angeles")

# https://www.twilio.com/docs/api/errors, as of 2026: the codes of a Message and its
# receipts, by what the page of each says. 1xxxx and 2xxxx refuse the request; the
# others mostly come later, in receipts. What affects everything we send is an
# AccountError. What affects our sender and one destination, or is a limit of Twilio's
# own, makes Twilio unsuitable for the message. Where a page names causes of both kinds,
# it is a ProviderError: a run of them opens the breaker. Codes of other features
# (brands, toll-free verification, link shortening, ...) are left out; the test lists
# them.
CODES: Table = {
    "10001": AccountError,  # account is not active
    "10002": AccountError,  # trial accounts cannot do it
    "11751": UnsuitableError,  # media exceed the size limit
    "12300": UnsuitableError,  # media of a type that Twilio does not take
    "14107": RECIPIENTS_LIMIT,  # too many between the same two numbers
    "20001": ProviderError,  # unknown parameter
    "20003": AccountError,  # authentication or permission
    "20004": ProviderError,  # method not allowed: not this endpoint
    "20005": AccountError,  # account not active
    "20006": AccountError,  # access denied
    "20008": AccountError,  # test credentials
    "20010": AccountError,  # action disabled for account
    "20011": ProviderError,  # TLS version
    "20012": ProviderError,  # TLS cipher
    "20404": AccountError,  # no such account, or not here
    "20410": ProviderError,  # this API is gone
    "20422": UnsuitableError,  # a parameter is invalid
    "20423": AccountError,  # a SID is invalid
    "20429": Throttled,  # too many requests
    "20500": ProviderError,
    "20503": UNAVAILABLE,
    "20504": ProviderError,
    "21211": RecipientError,  # invalid To
    "21212": AccountError,  # invalid From, or one that may not send messages
    "21214": RecipientError,  # To cannot be reached
    "21217": RecipientError,  # not a phone number
    "21264": AccountError,  # From is not verified
    "21265": RecipientError,  # To is a short code
    "21266": UnsuitableError,  # To is our own number there
    "21267": AccountError,  # trial: From must not be alphanumeric
    "21268": RecipientError,  # premium rate or information service
    "21401": ProviderError,  # From is not ours, or alphanumeric where that is not taken
    "21407": AccountError,  # this kind of number cannot send SMS
    "21408": UnsuitableError,  # region not enabled for us
    "21421": RecipientError,  # invalid phone number
    "21601": AccountError,  # From is not an SMS-capable number of ours
    "21602": MessageError,  # no body
    "21603": AccountError,  # no From
    "21604": RecipientError,  # no To
    "21605": UnsuitableError,  # body too long for an old endpoint
    "21606": ProviderError,  # From is not ours, or cannot send messages, or not there
    "21607": AccountError,  # trial: From must be the sandbox number
    "21608": AccountError,  # trial: To is not verified
    "21609": AccountError,  # our StatusCallback is not a public URL
    "21610": OPTED_OUT,  # STOP
    "21611": ProviderError,  # From has ten hours of messages queued
    "21612": UnsuitableError,  # not from this From to this To
    "21613": AccountError,  # the number needs an address or certification
    "21614": RecipientError,  # not a mobile number
    "21616": AccountError,  # From matches several numbers
    "21617": UnsuitableError,  # more than 1600 characters
    "21619": MessageError,  # neither body nor media
    "21620": UnsuitableError,  # media URL that Twilio does not take
    "21623": UnsuitableError,  # more than ten media
    "21624": ProviderError,  # validity period
    "21627": ProviderError,  # MaxPrice
    "21635": RecipientError,  # landline
    "21652": UnsuitableError,  # subject too long
    "21654": ProviderError,  # ContentSid missing
    "21655": ProviderError,  # ContentSid
    "21656": ProviderError,  # ContentVariables
    "21657": UnsuitableError,  # sender ID not supported there
    "21658": UnsuitableError,  # a parameter is too long
    "21659": ProviderError,  # From is not Twilio's, or a short code of another country
    "21660": AccountError,  # From is not of this account
    "21661": AccountError,  # From cannot do SMS
    "21701": AccountError,  # Messaging Service does not exist
    "21702": AccountError,  # Messaging Service sends nothing
    "21703": UnsuitableError,  # Messaging Service has no number for this destination
    "21704": AccountError,  # Messaging Service has no numbers
    "21705": AccountError,  # Messaging Service is invalid
    "21708": AccountError,  # alphanumeric sender missing
    "21709": AccountError,  # alphanumeric sender invalid, or not of the service
    "21711": AccountError,  # From is not of the Messaging Service
    "21712": AccountError,  # From is of another Messaging Service
    "21729": UnsuitableError,  # 10DLC campaign suspended: none to the United States
    "21730": UNAVAILABLE,  # maintenance
    "21731": UnsuitableError,  # 10DLC brand suspended: likewise
    "21733": AccountError,  # no default Messaging Service
    "21910": AccountError,  # From and To are of different channels
    "30001": ProviderError,  # queue overflow
    "30002": AccountError,  # account suspended
    "30003": HandsetOff,  # handset off or out of reach
    "30004": RecipientError,  # blocked
    "30005": RecipientError,  # unknown handset
    "30006": RecipientError,  # landline, or carrier out of reach
    "30007": MessageError,  # filtered
    "30008": ProviderError,  # unknown error
    "30010": UnsuitableError,  # price above MaxPrice, a former parameter
    "30011": UnsuitableError,  # no MMS there
    "30012": ProviderError,  # TTL too small
    "30013": ProviderError,  # TTL too big
    "30014": RecipientError,  # To is invalid
    "30015": AccountError,  # channel type
    "30016": AccountError,  # From and To are of different channels
    "30017": ProviderError,  # carrier congested
    "30018": UnsuitableError,  # carrier requires a registered sender
    "30019": UnsuitableError,  # too large for the carrier, by this route
    "30020": ProviderError,  # internal
    "30021": ProviderError,  # internal
    "30022": Throttled,  # 10DLC rate
    "30023": DAILY_CAP,  # of the 10DLC brand
    "30024": UnsuitableError,  # sender not provisioned at the carrier
    "30027": DAILY_CAP,  # of the brand at T-Mobile
    "30028": ProviderError,  # API version
    "30029": ProviderError,  # ContentRetention
    "30030": ProviderError,  # AddressRetention
    "30031": ProviderError,  # MaxRate
    "30032": UnsuitableError,  # toll-free number not verified
    "30033": UnsuitableError,  # 10DLC campaign suspended
    "30034": UnsuitableError,  # 10DLC number not registered
    "30035": UnsuitableError,  # 10DLC number still being set up
    "30036": ProviderError,  # waited at Twilio for longer than its validity period
    "30037": AccountError,  # outbound messages disabled
    "30038": RecipientError,  # a number of Twilio's, which takes no one-time codes
    "30040": UnsuitableError,  # carrier requires a registered sender
    "30041": UnsuitableError,  # number not registered for the United Kingdom
    "30042": AccountError,  # generic sender ID, or with special characters
    "30043": UnsuitableError,  # international SMS by a domestic gateway
    "30044": UnsuitableError,  # trial: too many segments
    "30045": ProviderError,  # validity period
    "30400": ProviderError,  # parameters
    "30404": AccountError,  # no such account or Messaging Service here
    "30410": ProviderError,  # carrier timed out; Twilio does not try again
    "30450": RECIPIENTS_LIMIT,  # blocked for half an hour: SMS pumping suspected
    "30453": RECIPIENTS_LIMIT,  # blocked for some hours: SMS pumping suspected
    "30454": AccountError,  # account exceeded its limit of messages
    "30485": RECIPIENTS_LIMIT,  # cannot be delivered there for a while
    "30500": ProviderError,  # internal
    "30610": NotNow,  # local regulation, at this time
    "30615": NotNow,  # local regulation, at this time
    "30620": UnsuitableError,  # not what our sender ID is registered for
    "30630": OPTED_OUT,  # STOP
    "60728": AccountError,  # account exceeded its hourly limit
    # Of channels other than SMS; a Messaging Service may send by RCS first.
    "63001": AccountError,  # not authenticated at the channel
    "63002": AccountError,  # From unknown to the channel
    "63003": RecipientError,  # To unknown to the channel
    "63005": UnsuitableError,  # content not taken
    "63006": UnsuitableError,  # content cannot be formatted
    "63007": AccountError,  # no channel of this From
    "63008": AccountError,  # channel misconfigured
    "63009": ProviderError,  # internal
    "63010": ProviderError,  # internal
    "63011": ProviderError,  # capabilities not known
    "63012": ProviderError,  # internal
    "63013": MessageError,  # policy
    "63014": RecipientError,  # blocked by the user
    "63017": Throttled,
    "63018": Throttled,
    "63019": UnsuitableError,  # media could not be downloaded
    "63020": AccountError,
    "63021": UnsuitableError,  # content
    "63023": ProviderError,  # unknown
    "63024": RecipientError,  # invalid recipient
    "63026": MessageError,  # spam
    "63030": UnsuitableError,  # parameter not supported
    "63031": UnsuitableError,  # To is our own
    "63033": OPTED_OUT,
    "63034": UnsuitableError,  # media too large
    "63035": UnsuitableError,  # RCS agent not launched there
    "63036": UnsuitableError,  # number has no RCS
    "63037": ProviderError,  # media could not be uploaded
    "63038": AccountError,  # account exceeded its daily limit
    "90007": ProviderError,  # validity period
    "90010": AccountError,  # account is not active
    "90014": ProviderError,  # validity period
    "572002": AccountError,  # trial: From is not for this recipient
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
# How a Messaging Service with Advanced Opt-Out reads a text, in any language.
OPT_OUT_TYPES = {"STOP": Keyword.STOP, "START": Keyword.START, "HELP": Keyword.HELP}
BODY_LIMIT = 1600  # characters
MEDIA_LIMIT = 10
DEFAULT_PORTS = {"http": 80, "https": 443}


class _Twilio(HttpProvider):
    declared_options = (
        Option("ACCOUNT_SID", "TWILIO_ACCOUNT_SID", is_required=True),
        Option("AUTH_TOKEN", "TWILIO_AUTH_TOKEN", is_required=True),
        Option(
            "FROM",
            "TWILIO_FROM",
            is_required=True,
            help="a number, or a Messaging Service: `MG…`",
        ),
        Option(
            "BASE_URL",
            "TWILIO_BASE_URL",
            default="https://api.twilio.com",
            is_required=True,
            help="another region, or a proxy",
        ),
    )
    docs = DocsRow(
        receipts="status callback, HMAC-SHA1 with the auth token, over the URL with or "
        "without its port",
        reference="query of the callback URL",
    )
    simulator = "twilio"
    account_option = "ACCOUNT_SID"
    settling_seconds = 60.0
    codes = CODES

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        return {
            **super().simulated_options(port),
            "ACCOUNT_SID": "AC" + "5" * 32,
            "AUTH_TOKEN": "simulated-twilio-token",
            "FROM": "+15005550006",
            "SETTLING_SECONDS": 1.0,
            "UNIT_PRICE": "0.0079",  # made up
            "CURRENCY": "USD",
        }

    def send(self, message: OutboundMessage) -> Acceptance:
        """Create a Message resource."""
        self.refuse_unsuitable(message)
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

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """`{"code": 21211, "message": …}`"""
        error = answer.json()
        return as_text(error.get("code")), as_text(error.get("message"))

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Find the one message to the recipient that can only be ours.

        By sender, time, media and text, since Twilio returns no reference. Not by
        DateSent: a message that still waits in Twilio's queue has none. Nor are pages
        shared by recipients: without DateSent the list holds all that was ever sent, in
        an order that is not documented, and moves on while it is read.
        """
        query = {"To": enquiry.message.recipient, "PageSize": str(PAGE_SIZE)}
        if enquiry.sender and not _is_service(enquiry.sender):
            query["From"] = enquiry.sender
        answer = self.fetch(
            f"{self._messages_url()}?{urlencode(query)}", headers=self._authorization()
        )
        may_be_reworded = _is_service(enquiry.sender or self.sender)
        found = find_in(answer, enquiry, may_be_reworded=may_be_reworded)
        return _looked_up(found, enquiry.message.reference) if found else None

    def problem_with_receipts(self) -> str:
        """Twilio posts to the URL of each message, and signs with the auth token."""
        return "" if self.options.get("RECEIPT_URL") else "RECEIPT_URL is not set."

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """One status callback. All parameters are signed, also those added later."""
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

    def _messages_url(self) -> str:
        account = self.options["ACCOUNT_SID"]
        return self.url(f"/2010-04-01/Accounts/{account}/Messages.json")

    def _authorization(self) -> dict[str, str]:
        return basic_auth(
            str(self.options["ACCOUNT_SID"]), str(self.options["AUTH_TOKEN"])
        )

    def _fields(self, message: OutboundMessage) -> list[tuple[str, str]]:
        sender_field = "MessagingServiceSid" if _is_service(self.sender) else "From"
        fields = [("To", message.recipient), (sender_field, self.sender)]
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
        if not self._is_signed(given, request.url, fields):
            raise ForgedReceipt(self._why_forged(given, request, fields))

    def _why_forged(
        self, given: bytes, request: WebhookRequest, fields: list[tuple[str, str]]
    ) -> str:
        """What an operator can fix: we are reached at another URL than PUBLIC_URL."""
        if not given:
            return "There is no X-Twilio-Signature."
        parts = urlsplit(request.url)
        host = request.headers.get("Host", "") or parts.netloc
        for scheme in DEFAULT_PORTS:
            other = parts._replace(scheme=scheme, netloc=host).geturl()
            if self._is_signed(given, other, fields):
                return f"It is signed for {scheme}://{host}: set PUBLIC_URL to that."
        return "The signature does not match: see PUBLIC_URL and the auth token."

    def _is_signed(self, given: bytes, url: str, fields: list[tuple[str, str]]) -> bool:
        return any(
            hmac.compare_digest(given, self._signature(each, fields))
            for each in _spellings(url)
        )

    def _signature(self, url: str, fields: list[tuple[str, str]]) -> bytes:
        signed = url + "".join(name + value for name, value in sorted(set(fields)))
        key = str(self.options["AUTH_TOKEN"]).encode()
        return base64.b64encode(hmac.digest(key, signed.encode(), hashlib.sha1))


class TwilioSMS(_Twilio):
    """SMS through Twilio."""

    channel = Channel.SMS

    def cannot_carry(self, message: OutboundMessage) -> str:
        """An SMS carries no media; with a MediaUrl, Twilio would make it an MMS."""
        if message.media_urls:
            return "An SMS carries no media."
        return _too_long(message)


class TwilioMMS(_Twilio):
    """MMS through Twilio."""

    channel = Channel.MMS

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        return {**super().simulated_options(port), "UNIT_PRICE": "0.0200"}

    def cannot_carry(self, message: OutboundMessage) -> str:
        """Without a MediaUrl, Twilio would send, and charge, an SMS."""
        if not message.media_urls:
            return "An MMS needs a media URL."
        if len(message.media_urls) > MEDIA_LIMIT:
            return f"It has more than {MEDIA_LIMIT} media."
        return _too_long(message)


def _is_service(sender: str) -> bool:
    return sender.startswith("MG")


def _too_long(message: OutboundMessage) -> str:
    if len(message.body) <= BODY_LIMIT:
        return ""
    return f"The text is longer than {BODY_LIMIT} characters."


def _acceptance(answer: Answer) -> Acceptance:
    resource = answer.json()
    sid = as_text(resource.get("sid"))
    if not sid:
        raise OutcomeUnknown("Twilio answered 2xx without a message SID.")
    if failure := _born_dead(resource.get("status"), resource.get("error_code")):
        raise failure
    cost = as_amount(resource.get("price"))  # null at first, usually
    return Acceptance(
        external_message_id=sid,
        # "0" until a Messaging Service has picked the sender
        segments=as_count(resource.get("num_segments")) or None,
        cost=cost,
        currency="" if cost is None else as_text(resource.get("price_unit")).upper(),
    )


def _born_dead(status: object, code: object) -> SendFailure | None:
    """The failure of a resource that was created as failed."""
    if status in {"failed", "canceled"}:
        return refused(CODES, as_text(code), f"Twilio created the message as {status}.")
    return None


def _with_reference(url: str, reference: str) -> str:
    separator = "&" if urlsplit(url).query else "?"
    return f"{url}{separator}{urlencode({'reference': reference})}"


def _spellings(url: str) -> Iterator[str]:
    """The URL as it is, without its port, and with the default one.

    Twilio's own library tries several: its signatures do not always cover the port.
    """
    yield url
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    usual = f"{host}:{DEFAULT_PORTS.get(parts.scheme)}"
    yield from {parts._replace(netloc=each).geturl() for each in (host, usual)} - {url}


def _inbound(fields: dict[str, str]) -> Inbound:
    """A status callback that arrives here by mistake has no Body."""
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
