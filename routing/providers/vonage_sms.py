"""Vonage SMS API: SMS.

https://developer.vonage.com/en/api/sms (the request, its answer, the receipt)
https://developer.vonage.com/en/api-errors/sms (status codes)
https://developer.vonage.com/en/getting-started/concepts/signing-messages (signatures)

The answer is HTTP 200 for errors too, with one entry per part of the message, and each
part has receipts of its own. Vonage bills in euros.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from urllib.parse import urlencode, urlsplit

from routing.providers.base import (
    Acceptance,
    AccountError,
    Enquiry,
    ForgedReceipt,
    HandsetOff,
    Inbound,
    LookUpFailed,
    MalformedReceipt,
    MessageError,
    OutboundMessage,
    OutcomeUnknown,
    PartlyTaken,
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
    Table,
    error_class_of,
    is_opt_out,
    refused,
)
from routing.providers.options import DocsRow, Option
from routing.providers.transport.http import (
    Answer,
    HttpProvider,
    basic_auth,
    by_clock_of,
)
from routing.providers.transport.shared_answers import Listed, SharedAnswers
from routing.providers.transport.signatures import (
    DEFAULT_MAX_AGE_SECONDS,
    problem_with_max_age,
    require_equal,
    require_recent,
)
from routing.providers.vonage_account import ACCOUNT_OPTIONS, SIMULATED_ACCOUNT
from routing.reference import AttemptReference
from routing.text.recipient_keys import is_same_recipient
from routing.text.segments import is_gsm7
from routing.text.untrusted import (
    as_amount,
    as_body,
    as_count,
    as_number,
    as_object,
    as_text,
    form_fields,
    json_object,
)
from routing.vocabulary import Channel, ErrorClass, MessageStatus

# `status` of the answer.
CODES: Table = {
    "1": Throttled,
    "2": ProviderError,  # missing parameters
    "3": UnsuitableError,  # invalid parameters
    "4": AccountError,  # credentials
    "5": ProviderError,  # internal error
    "6": RecipientError,  # cannot be processed, for example an unknown prefix
    "7": RecipientError,  # number barred by Vonage
    "8": AccountError,  # account barred
    "9": AccountError,  # no funds
    "10": Throttled,  # too many binds
    "11": AccountError,  # account not enabled for HTTP
    "12": UnsuitableError,  # too long
    "13": ProviderError,  # communication failed
    "14": AccountError,  # signature
    "15": ProviderError,  # sender not allowed, here or there
    "16": ProviderError,  # validity period
    "19": AccountError,  # facility not allowed
    "20": UnsuitableError,  # message class
    "22": UnsuitableError,  # network code
    "23": AccountError,  # our callback URL
    "29": AccountError,  # demo account: destination not whitelisted
    "32": AccountError,  # signature and secret together
    "33": RecipientError,  # number deactivated
}

# `err-code` of the receipt.
# https://api.support.vonage.com/hc/en-us/articles/204014733
RECEIPT_CODES: Table = {
    "1": ProviderError,  # unknown
    "2": HandsetOff,  # subscriber absent for now
    "3": RecipientError,  # subscriber gone
    "4": RecipientError,  # barred by the user at the operator
    "5": RecipientError,  # number portability
    "6": MessageError,  # taken for spam
    "7": HandsetOff,  # handset busy
    "8": ProviderError,  # network
    "9": OPTED_OUT,  # "the user has requested not to receive messages": STOP
    "10": MessageError,  # illegal message
    "11": UnsuitableError,  # no route
    "12": RecipientError,  # destination cannot be reached
    "13": RecipientError,  # age restriction
    "14": RecipientError,  # blocked by the carrier
    "15": RecipientError,  # their prepaid account is empty
    "16": AccountError,  # quota of the gateway exceeded
    "39": UnsuitableError,  # sender not allowed in the United States
    "50": UnsuitableError,  # entity not registered there
    "51": UnsuitableError,  # sender not registered there
    "52": MessageError,  # content not registered there
    "53": RecipientError,  # no consent on record
    "54": UnsuitableError,  # regulation
    "99": ProviderError,  # general error
}

# `accepted` is the carrier's. `buffered` and `unknown` are no verdict.
STATUSES = {
    "accepted": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "expired": MessageStatus.BOUNCED,  # not fetched within its validity, 72 hours
    "rejected": MessageStatus.FAILED,
    "failed": MessageStatus.FAILED,  # or BOUNCED, if the recipient is the cause
}
CURRENCY = "EUR"
PAGES_AT_MOST = 20
# Look-ups ask for whole spans of time, so that they ask the same.
SHARED_SPAN = timedelta(seconds=30)
# How far the clocks may be apart before the records of another time are read.
CLOCKS_APART = timedelta(seconds=30)
SIGNATURE_METHODS = {"md5", "sha1", "sha256", "sha512"}  # all of them as HMAC


class VonageSMS(HttpProvider):
    """SMS through Vonage's SMS API."""

    channel = Channel.SMS
    declared_options = (
        *ACCOUNT_OPTIONS,
        Option(
            "SIGNATURE_METHOD",
            "VONAGE_SIGNATURE_METHOD",
            default="sha256",
            help="or `md5`, `sha1`, `sha512`: as chosen in the account",
        ),
        Option(
            "BASE_URL",
            "VONAGE_SMS_BASE_URL",
            default="https://rest.nexmo.com",
            is_required=True,
            help="another region, or a proxy",
        ),
        # https://developer.vonage.com/en/api/reports
        Option(
            "REPORTS_URL",
            default="https://api.nexmo.com",
            is_required=True,
            help="the Reports API, for look-ups",
        ),
    )
    docs = DocsRow(
        receipts="one per part, `sig` as HMAC, ± 5 minutes", reference="`client-ref`"
    )
    simulator = "vonage"
    account_option = "API_KEY"
    codes = CODES
    has_receipt_per_part = True

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        base = super().simulated_options(port)
        return {
            **base,
            **SIMULATED_ACCOUNT,
            "REPORTS_URL": base["BASE_URL"],
            "SETTLING_SECONDS": 1.0,
        }

    def cannot_carry(self, message: OutboundMessage) -> str:
        """Media only: how long a text may be, Vonage says only by status 12."""
        return "An SMS carries no media." if message.media_urls else ""

    def send(self, message: OutboundMessage) -> Acceptance:
        """Submit the message; it is accepted if every part is."""
        self.refuse_unsuitable(message)
        answer = self.http.post(
            self.url("/sms/json"),
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
        """The first part that was refused."""
        for part in _parts(answer):
            if part.get("status") != "0":
                return as_text(part.get("status")), as_text(part.get("error-text"))
        return "", ""

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Find the record with our reference in the Reports API.

        It costs extra, so only with SETTLING_SECONDS. The only documented filters are
        time and product, so all records of that time are read, page by page; look-ups
        of about the same time share the pages. The time is Vonage's: if the first
        answer shows that its clock differs, it is asked anew.
        """
        listed = self._report(self._query(enquiry), enquiry)
        as_asked = listed.as_asked(enquiry)
        there = by_clock_of(listed.answer, as_asked)
        if abs(there.since - as_asked.since) > CLOCKS_APART / 2:
            listed = self._report(self._query(there), enquiry)
        for _ in range(PAGES_AT_MOST):
            page = listed.answer.json()
            for record in map(as_object, page["records"]):
                if _is_of(record, enquiry):
                    return _looked_up(record, enquiry.message.reference)
            query = _next_query(page)
            if not query:
                return None
            listed = self._report(query, enquiry)
        raise LookUpFailed("Vonage has too many records of that time.")

    def problem_with_receipts(self) -> str:
        """Vonage signs with the account's secret, by the method chosen there."""
        if not self.options.get("SIGNATURE_SECRET"):
            return "VONAGE_SIGNATURE_SECRET is not set."
        if self._method not in SIGNATURE_METHODS:
            methods = ", ".join(sorted(SIGNATURE_METHODS))
            return f"VONAGE_SIGNATURE_METHOD is not one of {methods}."
        return problem_with_max_age(self.options)

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """One delivery receipt, of one part."""
        fields = _received_fields(request)
        self._verify(fields)
        return [self._receipt(fields)]

    def read_inbound(self, request: WebhookRequest) -> Inbound:
        """A message to one of our numbers, or a part of a long one.

        https://developer.vonage.com/en/messaging/sms/guides/inbound-sms
        """
        fields = _received_fields(request)
        self._verify(fields)
        return _inbound(fields)

    def _query(self, enquiry: Enquiry) -> str:
        since = _rounded_down(enquiry.since - CLOCKS_APART)
        until = _rounded_down(enquiry.until + CLOCKS_APART) + SHARED_SPAN
        return urlencode(
            {
                "account_id": self.options["API_KEY"],
                "product": "SMS",
                "direction": "outbound",
                "date_start": f"{since:%Y-%m-%dT%H:%M:%SZ}",
                "date_end": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    def _report(self, query: str, enquiry: Enquiry) -> Listed:
        """A page of records."""
        return self._reports.get(query, enquiry, fetch=self._fetch_report)

    def _fetch_report(self, query: str) -> Answer:
        base_url = str(self.options["REPORTS_URL"]).rstrip("/")
        answer = self.fetch(
            f"{base_url}/v2/reports/records?{query}", headers=self._authorization()
        )
        if not isinstance(answer.json().get("records"), list):
            raise LookUpFailed("Vonage's answer has no list of records.")
        return answer

    @cached_property
    def _reports(self) -> SharedAnswers:
        """The call of a lost worker may have gone on until its time-out."""
        settling = (self.settling_time or timedelta(0)) + self._timeout
        return SharedAnswers(settling=settling, patience=self._timeout.total_seconds())

    @property
    def _timeout(self) -> timedelta:
        return timedelta(seconds=self.http.timeout)

    def _authorization(self) -> dict[str, str]:
        return basic_auth(str(self.options["API_KEY"]), str(self.options["API_SECRET"]))

    def _fields(self, message: OutboundMessage) -> dict[str, str]:
        fields = {
            "from": str(self.options["FROM"]).removeprefix("+"),
            "to": message.recipient.removeprefix("+"),
            "text": message.body,
            "type": "text" if is_gsm7(message.body) else "unicode",
            "client-ref": message.reference,
        }
        if receipt_url := self.options.get("RECEIPT_URL"):
            fields["callback"] = receipt_url
        return fields

    @property
    def _method(self) -> str:
        return str(self.options["SIGNATURE_METHOD"])

    def _verify(self, fields: Mapping[str, str]) -> None:
        secret = str(self.options.get("SIGNATURE_SECRET") or "")
        if not secret:
            raise ForgedReceipt(f"{self.name} has no SIGNATURE_SECRET to check with.")
        given = fields.get("sig", "").lower()
        try:
            require_equal(given, _sign(fields, secret, self._method))
        except ForgedReceipt:
            raise ForgedReceipt(_why_forged(given, fields, secret)) from None
        max_age = float(self.options.get("RECEIPT_MAX_AGE", DEFAULT_MAX_AGE_SECONDS))
        require_recent(
            _signed_at(fields), now=self.clock(), max_age=timedelta(seconds=max_age)
        )

    def _receipt(self, fields: Mapping[str, str]) -> Receipt:
        message_id, status = fields.get("messageId", ""), fields.get("status", "")
        if not message_id or not status:
            raise MalformedReceipt("messageId or status is missing.")
        code = as_text(fields.get("err-code")).removeprefix("0")
        error_class = error_class_of(RECEIPT_CODES, code)
        return Receipt(
            event_id=f"{message_id}:{status}",
            reference=as_text(fields.get("client-ref")),
            external_message_id=message_id,
            recipient=as_number(fields.get("msisdn")),
            status=_verdict(status, error_class),
            provider_status=as_text(status),
            occurred_at=_signed_at(fields),
            error_code=code,
            error_class=error_class,
            opted_out=is_opt_out(RECEIPT_CODES, code),
            # No cost: `price` is of one part, and the answer named the whole.
        )


def _inbound(fields: Mapping[str, str]) -> Inbound:
    """A receipt that arrives here by mistake has a status."""
    message_id, sender = (
        as_text(fields.get("messageId")),
        as_number(fields.get("msisdn")),
    )
    if not message_id or not sender or "status" in fields:
        raise MalformedReceipt("Not an inbound message: messageId and msisdn name one.")
    return Inbound(
        event_id=message_id,
        sender=sender,
        recipient=as_number(fields.get("to")),
        text=as_body(fields.get("text")),  # none where the type is binary
    )


def _rounded_down(at: datetime) -> datetime:
    seconds = at.timestamp() // SHARED_SPAN.total_seconds()
    return datetime.fromtimestamp(seconds * SHARED_SPAN.total_seconds(), tz=UTC)


def _next_query(page: dict[str, Any]) -> str:
    """The query of the next page; "" on the last. The rest of its URL is not used."""
    following = as_object(as_object(page.get("_links")).get("next"))
    return urlsplit(str(following.get("href") or "")).query


def _is_of(record: dict[str, Any], enquiry: Enquiry) -> bool:
    """Whether it has our reference; LookUpFailed if only the seal differs.

    Then the key has been changed, and nobody can say that the message is not there.
    """
    reference = as_text(record.get("client_ref"))
    if reference in enquiry.references:
        return True
    named = AttemptReference.parse(enquiry.message.reference)
    is_alike = named is not None and AttemptReference.parse(reference) == named
    to = as_number(record.get("to"))
    if is_alike and is_same_recipient(to, enquiry.message.recipient):
        raise LookUpFailed("Vonage has it by a reference that another key sealed.")
    return False


def _looked_up(record: dict[str, Any], reference: str) -> Receipt:
    message_id = as_text(record.get("message_id"))
    status = as_text(record.get("status"))
    code = as_text(record.get("error_code")).removeprefix("0")
    error_class = error_class_of(RECEIPT_CODES, code)
    return Receipt(
        event_id=f"{message_id}:{status}",
        reference=reference,
        external_message_id=message_id,
        recipient=as_number(record.get("to")),
        status=_verdict(status, error_class),
        provider_status=status,
        error_code=code,
        error_class=error_class,
        opted_out=is_opt_out(RECEIPT_CODES, code),
        raw=json.dumps(record),
    )


def _parts(answer: Answer) -> list[dict[str, Any]]:
    parts = answer.json().get("messages")
    return [as_object(part) for part in parts] if isinstance(parts, list) else []


def _acceptance(answer: Answer) -> Acceptance:
    parts = _parts(answer)
    if failure := _refusal(parts):
        raise failure
    ids = [as_text(part.get("message-id")) for part in parts]
    if not ids or not all(ids):
        raise OutcomeUnknown("Vonage answered 2xx without a message id.")
    cost = _sum(part.get("message-price") for part in parts)
    return Acceptance(
        external_message_id=ids[0],  # receipts of other parts match by client-ref
        segments=as_count(answer.json().get("message-count")),
        parts=len(parts),
        cost=cost,
        currency="" if cost is None else CURRENCY,
    )


def _refusal(parts: list[dict[str, Any]]) -> SendFailure | None:
    """Refused if all parts are. If only some are, no handset will show it whole."""
    failed = [part for part in parts if part.get("status") != "0"]
    if not failed:
        return None
    code, text = as_text(failed[0].get("status")), as_text(failed[0].get("error-text"))
    if code and len(failed) == len(parts):
        return refused(CODES, code, text)
    taken = len(parts) - len(failed)
    said = f"Vonage took {taken} of {len(parts)} parts: {text}".rstrip(": ")
    return PartlyTaken(said, code=code)


def _sum(prices: Any) -> Decimal | None:
    """The price of all parts; None if that of one is missing."""
    amounts = [as_amount(price) for price in prices]
    return None if None in amounts else sum(filter(None, amounts), Decimal())


def _received_fields(request: WebhookRequest) -> dict[str, str]:
    """From GET, a POST form or POST JSON, as chosen in the account."""
    if values := json_object(request.body):
        return {as_body(name): _plain(value) for name, value in values.items()}
    body = request.body or urlsplit(request.url).query.encode()
    return dict(form_fields(body))


def _plain(value: Any) -> str:
    return as_body(value) if isinstance(value, str) else as_text(value)


def _sign(fields: Mapping[str, str], secret: str, method: str) -> str:
    if method not in SIGNATURE_METHODS:
        raise ForgedReceipt(f"SIGNATURE_METHOD is not of {sorted(SIGNATURE_METHODS)}.")
    if any({"&", "="} & set(name) for name in fields):
        # Only values are escaped: a name could contain another field, to the same sum.
        raise ForgedReceipt("The name of a field contains a separator.")
    signed = "".join(
        f"&{name}={value.replace('&', '_').replace('=', '_')}"
        for name, value in sorted(fields.items())
        if name != "sig"
    )
    return hmac.digest(secret.encode(), signed.encode(), method).hex()


def _why_forged(given: str, fields: Mapping[str, str], secret: str) -> str:
    """What an operator can fix: the account signs by another method."""
    if not given:
        return "It has no sig: switch signed webhooks on in Vonage's dashboard."
    for method in sorted(SIGNATURE_METHODS):
        if hmac.compare_digest(given.encode(), _sign(fields, secret, method).encode()):
            return f"It is signed by {method}: set VONAGE_SIGNATURE_METHOD to that."
    return "The signature does not match: see VONAGE_SIGNATURE_SECRET and the method."


def _signed_at(fields: Mapping[str, str]) -> datetime:
    seconds = as_count(fields.get("timestamp"))
    if seconds is None:
        raise MalformedReceipt("timestamp is missing or no number.")
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedReceipt("timestamp is out of range.") from error


def _verdict(status: str, error_class: ErrorClass | None) -> MessageStatus | None:
    if status == "failed" and error_class == ErrorClass.RECIPIENT:
        return MessageStatus.BOUNCED
    return STATUSES.get(status)
