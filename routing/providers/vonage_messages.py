"""Vonage Messages API: MMS.

https://developer.vonage.com/en/api/messages (the request, its answer, the status)
https://developer.vonage.com/en/api-errors/messages (error codes)
https://developer.vonage.com/en/messages/concepts/signed-webhooks (signatures)

An MMS there is one media object with a caption. Vonage accepts basic authentication and
JWTs; we use the former, which needs no private key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import jwt

from routing.providers.base import (
    Acceptance,
    AccountError,
    ForgedReceipt,
    HandsetOff,
    Inbound,
    MalformedReceipt,
    MessageError,
    OutboundMessage,
    OutcomeUnknown,
    ProviderError,
    Receipt,
    RecipientError,
    Throttled,
    UnsuitableError,
    WebhookRequest,
)
from routing.providers.error_codes import (
    OPTED_OUT,
    RECIPIENTS_LIMIT,
    Table,
    error_class_of,
    is_opt_out,
)
from routing.providers.options import DocsRow, Option
from routing.providers.transport.http import Answer, HttpProvider, basic_auth
from routing.providers.transport.signatures import (
    DEFAULT_MAX_AGE_SECONDS,
    problem_with_max_age,
    require_equal,
    require_recent,
)
from routing.providers.vonage_account import ACCOUNT_OPTIONS, SIMULATED_ACCOUNT
from routing.text.untrusted import (
    as_amount,
    as_body,
    as_number,
    as_object,
    as_text,
    json_object,
)
from routing.vocabulary import Channel, MessageStatus

# `error.title` of a status, and the fragment of `type` in a refusal.
RECEIPT_CODES: Table = {
    "1000": Throttled,
    "1010": ProviderError,  # missing parameters
    "1020": UnsuitableError,  # invalid parameters
    "1021": UnsuitableError,  # invalid tag
    "1022": UnsuitableError,  # invalid template parameters
    "1030": ProviderError,  # internal error
    "1040": RecipientError,  # cannot be processed, for example an unknown prefix
    "1050": RecipientError,  # number barred by Vonage
    "1060": AccountError,  # account barred
    "1070": AccountError,  # no funds
    "1080": AccountError,  # account not enabled for REST
    "1090": UnsuitableError,  # too long
    "1100": ProviderError,  # communication failed
    "1110": AccountError,  # signature
    "1120": UnsuitableError,  # sender not allowed there; another provider's may be
    "1130": ProviderError,  # ttl
    "1140": AccountError,  # facility not allowed
    "1150": UnsuitableError,  # message class
    "1160": AccountError,  # demo account: destination not whitelisted
    "1170": RecipientError,  # invalid number
    "1180": HandsetOff,  # subscriber absent for now
    "1190": RecipientError,  # subscriber gone
    "1200": RecipientError,  # number portability
    "1210": MessageError,  # taken for spam
    "1220": HandsetOff,  # handset busy
    "1230": ProviderError,  # network
    "1240": OPTED_OUT,  # STOP
    "1241": RECIPIENTS_LIMIT,  # too many requests to this number
    "1250": UnsuitableError,  # no route from our sender
    "1260": RecipientError,  # destination cannot be reached
    "1270": RecipientError,  # age restriction
    "1280": RecipientError,  # blocked by the carrier
    "1290": RecipientError,  # their prepaid account is empty
    "1300": RecipientError,  # not a user of the network
    "1310": RecipientError,  # their device cannot take it
    "1320": OutcomeUnknown,  # it was already sent, says Vonage
    "1330": ProviderError,  # unknown
    "1331": ProviderError,  # the carrier does not answer
    "1340": UnsuitableError,  # outside of the window of a conversation
    "1350": AccountError,  # phone matching fee
    "1360": ProviderError,  # its time to live ended
    "1370": AccountError,  # access token expired
    "1380": UnsuitableError,  # media cannot be fetched
    "1381": UnsuitableError,  # media too large
    "1382": UnsuitableError,  # media of another type
    "1400": ProviderError,  # channel not supported
    "1410": UnsuitableError,  # invalid channel parameters
    "1420": AccountError,  # our sender is not of this channel
    "1430": RecipientError,  # invalid recipient
    "1440": UnsuitableError,  # message type not supported
    "1450": ProviderError,  # our reference is too long
}

# In a refusal some numbers mean something else (specification of API 1.4.0), and there
# are the words of all Vonage APIs (https://developer.vonage.com/en/api-errors).
CODES: Table = {
    **RECEIPT_CODES,
    "110": RecipientError,  # invalid recipient
    "1110": UnsuitableError,  # invalid channel parameters
    "1140": UnsuitableError,  # invalid message type
    "1150": UnsuitableError,  # invalid parameters
    "account-suspended": AccountError,
    "forbidden": AccountError,
    "invalid-api-key": AccountError,
    "invalid-json": ProviderError,
    "invalid-params": UnsuitableError,
    "invalid-signature": AccountError,
    "jwt-expired": AccountError,
    "jwt-revoked": AccountError,
    "low-balance": AccountError,
    "not-found": ProviderError,
    "unauthorized": AccountError,
    "unprovisioned": AccountError,
}

STATUSES = {
    "submitted": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.DELIVERED,
    "rejected": MessageStatus.FAILED,
    "undeliverable": MessageStatus.BOUNCED,
}

# https://developer.vonage.com/en/api/messages: the suffixes each type supports.
MEDIA_TYPES = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".gif"), "image"),
    **dict.fromkeys((".mp3", ".m4a", ".wav", ".amr", ".ogg"), "audio"),
    **dict.fromkeys((".mp4", ".3gp", ".3gpp", ".mov", ".webm"), "video"),
    ".vcf": "vcard",
}
CAPTION_LIMIT = 2000


class VonageMMS(HttpProvider):
    """MMS through Vonage's Messages API."""

    channel = Channel.MMS
    declared_options = (
        *ACCOUNT_OPTIONS,
        Option(
            "BASE_URL",
            "VONAGE_MESSAGES_BASE_URL",
            default="https://api.nexmo.com",
            is_required=True,
            help="another region, or a proxy",
        ),
    )
    docs = DocsRow(
        receipts="message status, JWT HS256 with the body's hash, ± 5 minutes",
        reference="`client_ref`",
    )
    simulator = "vonage"
    codes = CODES

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        return {
            **super().simulated_options(port),
            **SIMULATED_ACCOUNT,
            "UNIT_PRICE": "0.0215",  # made up
            "CURRENCY": "USD",
        }

    def cannot_carry(self, message: OutboundMessage) -> str:
        """One media object, of a type that its suffix shows, with a caption."""
        if len(message.media_urls) != 1:
            return "An MMS through Vonage carries exactly one media URL."
        kind = _kind(message.media_urls[0])
        if not kind:
            return "Vonage cannot tell the media's type from the URL's suffix."
        if message.body and kind == "vcard":
            return "A vCard through Vonage carries no text."
        if len(message.body) > CAPTION_LIMIT:
            return f"The text is longer than {CAPTION_LIMIT} characters."
        return ""

    def send(self, message: OutboundMessage) -> Acceptance:
        """Submit the message; Vonage answers 202 with its UUID."""
        answer = self.http.post(
            self.url("/v1/messages"),
            body=json.dumps(self._document(message)).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                **basic_auth(
                    str(self.options["API_KEY"]), str(self.options["API_SECRET"])
                ),
            },
        )
        if not answer.is_success:
            raise self.refusal(answer)
        message_uuid = as_text(answer.json().get("message_uuid"))
        if not message_uuid:
            raise OutcomeUnknown("Vonage answered 2xx without a message UUID.")
        return Acceptance(external_message_id=message_uuid)  # the price comes later

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """RFC 7807: the code is the fragment of `type`."""
        error = answer.json()
        code = urlsplit(as_text(error.get("type"))).fragment
        return code, as_text(error.get("detail")) or as_text(error.get("title"))

    def problem_with_receipts(self) -> str:
        """Vonage signs with the account's signature secret."""
        if not self.options.get("SIGNATURE_SECRET"):
            return "VONAGE_SIGNATURE_SECRET is not set."
        return problem_with_max_age(self.options)

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """One message status."""
        self._verify(request)
        return [_receipt(json_object(request.body))]

    def read_inbound(self, request: WebhookRequest) -> Inbound:
        """A message to one of our numbers, by MMS or by SMS.

        https://developer.vonage.com/en/messages/concepts/inbound-messages
        """
        self._verify(request)
        return _inbound(json_object(request.body))

    def _document(self, message: OutboundMessage) -> dict[str, Any]:
        self.refuse_unsuitable(message)
        kind = _kind(message.media_urls[0])
        document = {
            "channel": "mms",
            "message_type": kind,
            "from": str(self.options["FROM"]).removeprefix("+"),
            "to": message.recipient.removeprefix("+"),
            kind: _media(message),
            "client_ref": message.reference,
        }
        if receipt_url := self.options.get("RECEIPT_URL"):
            document |= {"webhook_url": receipt_url, "webhook_version": "v1"}
        return document

    def _verify(self, request: WebhookRequest) -> None:
        claims = self._claims(request.headers.get("Authorization", ""))
        digest = hashlib.sha256(request.body).hexdigest()
        require_equal(as_text(claims["payload_hash"]).lower(), digest)
        max_age = float(self.options.get("RECEIPT_MAX_AGE", DEFAULT_MAX_AGE_SECONDS))
        require_recent(
            _issued_at(claims), now=self.clock(), max_age=timedelta(seconds=max_age)
        )

    def _claims(self, authorization: str) -> dict[str, Any]:
        secret = str(self.options.get("SIGNATURE_SECRET") or "")
        if not secret:
            raise ForgedReceipt(f"{self.name} has no SIGNATURE_SECRET to check with.")
        try:
            return jwt.decode(
                authorization.removeprefix("Bearer "),
                secret,
                algorithms=["HS256"],
                # We check the times ourselves, by our clock.
                options={
                    "require": ["iat", "payload_hash"],
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_exp": False,
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise ForgedReceipt(f"Not Vonage's JWT: {error}") from error


def _kind(url: str) -> str:
    """The type of a media object; "" for one that Vonage does not accept."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return MEDIA_TYPES.get(suffix, "")


def _media(message: OutboundMessage) -> dict[str, str]:
    """The one media object."""
    [url] = message.media_urls
    return {"url": url, "caption": message.body} if message.body else {"url": url}


def _inbound(values: Mapping[str, Any]) -> Inbound:
    """A status that arrives here by mistake has no message_type."""
    message_uuid, sender = (
        as_text(values.get("message_uuid")),
        as_number(values.get("from")),
    )
    kind = as_text(values.get("message_type"))
    if not message_uuid or not sender or not kind:
        raise MalformedReceipt("message_uuid, from or message_type is missing.")
    return Inbound(
        event_id=message_uuid,
        sender=sender,
        recipient=as_number(values.get("to")),
        text=as_body(values.get("text"))
        or as_body(as_object(values.get(kind)).get("caption")),
    )


def _issued_at(claims: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(claims["iat"], tz=UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ForgedReceipt("The claim iat is no time.") from error


def _receipt(values: Mapping[str, Any]) -> Receipt:
    message_uuid = as_text(values.get("message_uuid"))
    status = as_text(values.get("status"))
    if not message_uuid or not status:
        raise MalformedReceipt("message_uuid or status is missing.")
    error, usage = as_object(values.get("error")), as_object(values.get("usage"))
    code, cost = as_text(error.get("title")), as_amount(usage.get("price"))
    return Receipt(
        event_id=f"{message_uuid}:{status}",
        reference=as_text(values.get("client_ref")),
        external_message_id=message_uuid,
        recipient=as_number(values.get("to")),
        status=STATUSES.get(status),
        provider_status=status,
        occurred_at=_moment(as_text(values.get("timestamp"))),
        error_code=code,
        error_message=as_text(error.get("detail")),
        error_class=error_class_of(RECEIPT_CODES, code),
        opted_out=is_opt_out(RECEIPT_CODES, code),
        cost=cost,
        currency="" if cost is None else as_text(usage.get("currency")),
    )


def _moment(text: str) -> datetime | None:
    """An ISO 8601 time; older callbacks leave out the zone, which is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
