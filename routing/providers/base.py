"""What we hand to a provider, what comes back, and the ways in which that can fail.

    SendFailure
    ├── RecipientError    permanent: this recipient cannot be reached this way
    ├── MessageError      permanent: this message is not acceptable
    │   └── UnsuitableError  not to this provider, or not for this destination
    ├── NotNow            the recipient accepts no messages at the moment
    │   ├── HandsetOff       or it is out of reach
    │   ├── MailboxFull
    │   └── Greylisted       their server wants to see a second try
    ├── UnmappedError     refused with a code that is not in our tables
    ├── ProviderError     certainly not sent; another provider may do better
    │   ├── AccountError  credentials, funds or permissions: a person must act
    │   └── Unreached     no connection came about, perhaps by this host's fault
    ├── Throttled         certainly not sent; slow down
    ├── NotCalled         certainly not sent: too late to call
    │   └── HostFault     nor could this host call
    ├── BatchRejected     certainly not sent: refused because of another in its call
    ├── CarrierCapReached certainly not sent; the carrier accepts no more today
    └── OutcomeUnknown    may have been sent
        └── PartlyTaken   some parts may arrive, but certainly not all

There are few kinds, chosen by what the caller does next (see `routing.dispatch`). Each
provider's file has a table that maps its error codes to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

from routing.providers.options import DocsRow, Option
from routing.text.untrusted import one_line
from routing.vocabulary import Channel, ErrorClass, Keyword, MessageStatus

# The code of a failure after which the message is always sent alone: it may be the one
# that its call was refused for.
ALONE_FROM_NOW_ON = "together"


class SendFailure(Exception):
    """The provider did not accept the message."""

    error_class: ClassVar[ErrorClass]

    def __init__(self, message: str = "", *, code: str = "") -> None:
        super().__init__(one_line(message) or self.__doc__ or "")
        self.code = one_line(str(code))  # the provider's own, or "" when it gave none


class RecipientError(SendFailure):
    """This recipient cannot be reached this way."""

    error_class = ErrorClass.RECIPIENT

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        opted_out: bool = False,
        is_gone: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.opted_out = opted_out  # suppress the address from now on
        self.is_gone = is_gone  # no such mailbox: suppress the address as well


class MessageError(SendFailure):
    """This message is not acceptable to any provider."""

    error_class = ErrorClass.MESSAGE


class UnsuitableError(MessageError):
    """This provider cannot carry the message, or not to this destination.

    Another may: it has its own limits, senders and registrations. This says nothing
    about the provider's health.
    """

    error_class = ErrorClass.UNSUITABLE


class NotNow(SendFailure):
    """The recipient accepts no messages at the moment.

    `elsewhere` if that is the provider's own limit per recipient, so that another
    provider may succeed at once. A full mailbox is full for all of them.
    """

    error_class = ErrorClass.NOT_NOW

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        elsewhere: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.elsewhere = elsewhere
        self.retry_after = retry_after


class HandsetOff(NotNow):
    """The handset is off or out of reach."""

    error_class = ErrorClass.HANDSET_OFF


class MailboxFull(NotNow):
    """The recipient's mailbox is full."""

    error_class = ErrorClass.MAILBOX_FULL


class Greylisted(NotNow):
    """The recipient's server accepts mail from us only at a later try."""

    error_class = ErrorClass.GREYLISTED


class UnmappedError(SendFailure):
    """The provider refused with a code that is not in our table."""

    error_class = ErrorClass.UNMAPPED


class ProviderError(SendFailure):
    """The provider certainly did not send the message."""

    error_class = ErrorClass.PROVIDER

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        unavailable: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.unavailable = unavailable  # not reached, or out of service as it says
        self.retry_after = retry_after


class AccountError(ProviderError):
    """The provider refuses our account: credentials, funds or permissions."""

    error_class = ErrorClass.ACCOUNT


class Unreached(ProviderError):
    """No connection to the provider came about.

    `may_be_ours` if there is no way to it, or no address for its name: that may well be
    this host's own fault (`messaging.queue.reach`).
    """

    def __init__(self, message: str = "", *, may_be_ours: bool = False) -> None:
        super().__init__(message, unavailable=True)
        self.may_be_ours = may_be_ours


class Throttled(SendFailure):
    """The provider asks us to slow down."""

    error_class = ErrorClass.THROTTLED

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class CarrierCapReached(SendFailure):
    """The recipient's carrier accepts no more of our messages today.

    The cap is on the sender, whichever provider is used, and ends at midnight in the
    carrier's time zone.
    """

    error_class = ErrorClass.THROTTLED

    def __init__(self, message: str = "", *, zone: str, code: str = "") -> None:
        super().__init__(message or "The carrier's daily cap is reached.", code=code)
        self.zone = zone  # IANA name, such as "America/Los_Angeles"


class NotCalled(SendFailure):
    """The provider was not called: the lease on the message had run out."""

    error_class = ErrorClass.THROTTLED  # certainly not sent, and nobody's fault


class HostFault(NotCalled):
    """This host could not call: it lacks something, or has no way to the provider.

    `elsewhere` if it may still have a way to another provider.
    """

    def __init__(self, message: str = "", *, elsewhere: bool = False) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


class BatchRejected(SendFailure):
    """The provider refused the whole call, and did not name this message."""

    error_class = ErrorClass.THROTTLED  # certainly not sent, and nobody's fault

    def __init__(self, message: str = "", *, goes_alone: bool) -> None:
        super().__init__(message, code=ALONE_FROM_NOW_ON if goes_alone else "beside")


class OutcomeUnknown(SendFailure):
    """The message may have been sent; nobody can tell yet."""

    error_class = ErrorClass.UNKNOWN


class PartlyTaken(OutcomeUnknown):
    """The provider accepted some parts of the message and refused others."""


class ForgedReceipt(Exception):
    """The webhook call is not signed by the provider."""


class MalformedReceipt(Exception):
    """The webhook call is signed, but is not what the provider documents."""


class LookUpFailed(Exception):
    """The provider could not tell what happened to the message; ask again later.

    `doubtful` are the ids of messages there that may be this one. If all of them are
    known to be others, it is not there.
    """

    def __init__(self, message: str = "", *, doubtful: Sequence[str] = ()) -> None:
        super().__init__(message or "The provider could not tell.")
        self.doubtful = tuple(doubtful)


class LookUpRefused(LookUpFailed):
    """The provider did not take the question: it was not reached, failed, or asks us to
    slow down, for `retry_after` if it says so.
    """

    def __init__(
        self, message: str = "", *, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LookUpNotSupported(Exception):
    """This provider cannot be asked what happened to a message."""


class ReceiptsNotSupported(Exception):
    """This provider sends no receipts."""


class InboundNotSupported(Exception):
    """This provider does not forward messages from handsets."""


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message, ready to be handed over.

    `reference` is ours: it identifies message and attempt, and the provider returns it
    in its receipts. `recipient` is an E.164 number or an e-mail address.
    `unsubscribe_url` is for marketing e-mail: a POST to it takes the recipient off the
    list (RFC 8058).
    """

    reference: str
    recipient: str
    body: str
    subject: str = ""
    media_urls: Sequence[str] = ()
    unsubscribe_url: str = ""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The provider accepted the message: its id, and what it says the message costs."""

    external_message_id: str
    segments: int | None = None
    parts: int | None = None  # each with receipts of its own
    cost: Decimal | None = None  # of the whole message, None when not known yet
    currency: str = ""  # ISO 4217, "" when cost is None


@dataclass(frozen=True, slots=True)
class Enquiry:
    """A question to a provider about a message that it may have accepted.

    It was handed over between `since` and `until`, by our clock, which shows `asked_at`
    now; by `account` and `sender` of the provider's options at that time. If the
    signing key has changed since, its reference was one of the other `spellings` then.
    """

    message: OutboundMessage
    since: datetime
    until: datetime
    asked_at: datetime
    account: str = ""  # as `Provider.account`; "": not on record
    sender: str = ""  # as `Provider.sender`; "": not on record
    spellings: Sequence[str] = ()

    @property
    def references(self) -> list[str]:
        """All references that it may have been sent with, the likeliest first."""
        return list(dict.fromkeys([self.message.reference, *self.spellings]))

    def by_clock(self, their_now: datetime) -> Enquiry:
        """The same question by a clock that shows this time now."""
        ahead = their_now - self.asked_at
        return replace(
            self,
            since=self.since + ahead,
            until=self.until + ahead,
            asked_at=their_now,
        )


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A webhook call as it came in. `url` is the public one, with its query string."""

    url: str
    headers: Mapping[str, str]  # looked up without regard to case
    body: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider says later about one message, in our words.

    `status` is SENT, DELIVERED, FAILED or BOUNCED; None when the provider gives no
    verdict. `event_id` is unique per provider and event, so that a receipt that arrives
    twice counts once.
    """

    event_id: str
    reference: str  # ours; "" when the provider did not return it
    external_message_id: str
    status: MessageStatus | None
    provider_status: str  # the provider's own word
    recipient: str = ""  # as the provider spells it; "" when it names none
    occurred_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    error_class: ErrorClass | None = None
    opted_out: bool = False
    complained: bool = False  # reported us as spam
    cap_zone: str = ""  # time zone of a carrier's daily cap: see CarrierCapReached
    cost: Decimal | None = None
    currency: str = ""
    raw: str = ""  # this event as it came; "" when it is all of the call

    @property
    def is_urgent(self) -> bool:
        """Whether its recipient wants no more messages."""
        return self.opted_out or self.complained


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message from a handset to us. Numbers are E.164 if the provider knows them so.

    `event_id` is unique per provider. `keyword` is the provider's own reading of the
    text, which overrides ours; the provider has then answered the handset itself.
    """

    event_id: str
    sender: str
    recipient: str
    text: str
    keyword: Keyword | None = None


class Provider:
    """Adapter for one messaging provider on one channel.

    Built once per process by `routing.providers.registry` from MESSAGE_PROVIDERS, and
    called from many threads at once. Subclasses live in one file per provider and may
    not read Django's settings on import: the settings import them.
    """

    channel: ClassVar[Channel]
    # What OPTIONS may hold besides the options that every provider has.
    declared_options: ClassVar[tuple[Option, ...]] = ()
    docs: ClassVar[DocsRow] = DocsRow()
    # The simulator that speaks its protocol, by its name in
    # `routing.simulators.credentials.PORT_OFFSETS`; "" for none.
    simulator: ClassVar[str] = ""
    # Whether its messages leave this host.
    is_real: ClassVar[bool] = True
    # The option that tells one of its accounts from another; "" if none does.
    account_option: ClassVar[str] = ""
    # How long after a call the provider is sure to list a message that it accepted;
    # None: it is not asked, unless the option SETTLING_SECONDS says so.
    settling_seconds: ClassVar[float | None] = None
    # Whether each part of a long SMS has an id and receipts of its own.
    has_receipt_per_part: ClassVar[bool] = False
    # How many messages one call takes; the option MAX_BATCH may lower it.
    max_batch: ClassVar[int] = 1

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        defaults = {option.name: option.default for option in self.declared_options}
        self.options: Mapping[str, Any] = {**defaults, **options}

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        """Options for a simulator, or a test's server, on this port of this host.

        Called by `marketing_platform.provider_settings`; overridden where an option
        that is required has no default.
        """
        return {}

    def missing_options(self) -> list[Option]:
        """The required options without a value; called by the registry."""
        return [
            option
            for option in self.declared_options
            if option.is_required and not self.options[option.name]
        ]

    @cached_property
    def account(self) -> str:
        """A digest that tells the account from others; "" if no option names one."""
        named = str(self.options.get(self.account_option) or "")
        return hashlib.blake2b(named.encode(), digest_size=8).hexdigest() * bool(named)

    @property
    def sender(self) -> str:
        """The option FROM: what messages leave by; "" if there is none."""
        return str(self.options.get("FROM") or "")

    @cached_property
    def countries(self) -> frozenset[str]:
        """The option COUNTRIES: ISO codes with commas; empty for all countries."""
        listed = str(self.options.get("COUNTRIES") or "").upper()
        return frozenset(filter(None, map(str.strip, listed.split(","))))

    def serves(self, country: str) -> bool:
        """Whether it is used for a country; always for "", an unknown one."""
        return not self.countries or not country or country in self.countries

    def cannot_carry(self, message: OutboundMessage) -> str:
        """Why this provider cannot carry the message, in one line; "" if it can.

        Called by `routing.decision.request` for each message and provider, before a
        provider is chosen, so it must be pure and quick. Overridden where there are
        limits; `send` enforces them with `refuse_unsuitable`.
        """
        return ""

    def refuse_unsuitable(self, message: OutboundMessage) -> None:
        """Raise UnsuitableError for what this provider cannot carry."""
        if reason := self.cannot_carry(message):
            raise UnsuitableError(reason)

    def send(self, message: OutboundMessage) -> Acceptance:
        """Hand the message over, once; called by `routing.dispatch`, always overridden.

        Returns if the provider accepts it, and raises a SendFailure otherwise. Never
        retries, and ends within the option TIMEOUT (seconds).
        """
        raise NotImplementedError

    @property
    def batch_size(self) -> int:
        """How many messages may share a call."""
        allowed = int(self.options.get("MAX_BATCH", self.max_batch))
        return max(1, min(allowed, self.max_batch))

    def batch_key(self, message: OutboundMessage) -> Hashable | None:
        """Equal for messages that may share a call; None for one that goes alone.

        Called by `routing.dispatch`, overridden with `max_batch`. Two messages to one
        recipient never share a call, whatever their keys.
        """
        return None

    def send_batch(
        self, messages: Sequence[OutboundMessage]
    ) -> list[Acceptance | SendFailure]:
        """Hand over messages of one `batch_key` in one call; one result per message.

        Called by `routing.dispatch` for two or more, overridden with `max_batch`. A
        failure of all of them may be raised. Otherwise as `send`: each must arrive as
        if it had been sent alone. A message that was not sent because the call was
        refused for another one is BatchRejected.
        """
        raise NotImplementedError

    @property
    def settling_time(self) -> timedelta | None:
        """How long after a call `look_up` is sure to find its message.

        None if look-ups are off: the option SETTLING_SECONDS is 0, or has neither a
        value nor a default. Called by `routing.look_ups`.
        """
        seconds = self.options.get("SETTLING_SECONDS", self.settling_seconds)
        return timedelta(seconds=float(seconds)) if seconds else None

    def look_up(self, enquiry: Enquiry) -> Receipt | None:
        """Ask what happened to a message; called by `routing.look_ups`, in a thread.

        The account is the one that was used. None if the provider certainly has no such
        message. Raises LookUpFailed if it cannot tell, or if no match is certain.
        Overridden where the provider can be asked; ends within the option TIMEOUT
        (seconds).
        """
        raise LookUpNotSupported(self.name)

    @classmethod
    def sends_receipts(cls) -> bool:
        """Whether it reports later what happened to messages."""
        return cls.read_receipts is not Provider.read_receipts

    def problem_with_receipts(self) -> str:
        """Which setting keeps receipts from being accepted; "" if none does.

        Called by checks; overridden where receipts are signed.
        """
        return ""

    def read_receipts(self, request: WebhookRequest) -> list[Receipt]:
        """Verify and read a webhook call; called by `routing.receipts.webhooks`.

        Raises ForgedReceipt or MalformedReceipt. Overridden where there are receipts.
        """
        raise ReceiptsNotSupported(self.name)

    def read_inbound(self, request: WebhookRequest) -> Inbound:
        """Verify and read a handset's message; called by `routing.receipts.webhooks`.

        Raises ForgedReceipt or MalformedReceipt. Overridden where handsets can answer.
        """
        raise InboundNotSupported(self.name)

    def inbound_answer(self, reply: str) -> str:
        """The XML that makes the provider text `reply` back, to answer its call with.

        Called by `routing.receipts.webhooks`; "" if the provider takes no replies so.
        """
        return ""

    def close(self) -> None:
        """Close connections; called when a worker ends."""
