"""The enums of the domain, with their integers on the wire and in the database.

Pure: no Django here, so that strategies, retry policies and providers can use the same
enums as the models. A value, once released, never changes its integer.
"""

from __future__ import annotations

from enum import IntEnum


class ChoiceEnum(IntEnum):
    """A closed list of values; each has a `label` for people."""

    @property
    def label(self) -> str:
        """The name as people read it, with spaces."""
        return LABELS.get(self.name, self.name.replace("_", " ").capitalize())

    @classmethod
    def choices(cls) -> list[tuple[int, str]]:
        """The pairs for Django's `choices`."""
        return [(member.value, member.label) for member in cls]


LABELS = {
    "API": "API",
    "SMS": "SMS",
    "MMS": "MMS",
    "EMAIL": "Email",
    "ROUND_ROBIN": "Round robin",
    "FORGED": "No valid signature",
    "INBOUND": "Inbound message",
    "UNMATCHED": "Of no message of ours",
    "DISAGREES": "Of another provider or recipient",
}


class Channel(ChoiceEnum):
    """How a message travels."""

    SMS = 0
    MMS = 1
    EMAIL = 2


class RoutingStrategy(ChoiceEnum):
    """How a route picks among its providers."""

    PRIMARY = 0
    FALLBACK = 1
    ROUND_ROBIN = 2
    LEAST_COST = 3
    HIGHEST_RELIABILITY = 4


class RetryStrategy(ChoiceEnum):
    """How the delay grows from one failed round to the next."""

    NONE = 0
    LINEAR = 1
    EXPONENTIAL = 2
    CUSTOM = 3


class MessageStatus(ChoiceEnum):
    """Where a message is on its way to the recipient."""

    QUEUED = 0  # waiting for a worker, its scheduled time or its next retry
    SENDING = 1  # claimed by a worker, or its outcome is not known yet
    SENT = 2  # a provider accepted it
    DELIVERED = 3  # the provider confirmed delivery
    FAILED = 4  # gave up
    BOUNCED = 5  # accepted, then rejected by the recipient's side
    CANCELLED = 6  # withdrawn by an operator or over the API
    SUPPRESSED = 7  # the recipient must not be contacted
    EXPIRED = 8  # not worth sending any more


class FallbackReason(ChoiceEnum):
    """Why an attempt went to a provider other than the route's first choice."""

    PRIMARY_FAILED = 0  # it answered, and refused for a reason of its own
    PROVIDER_UNAVAILABLE = 1  # it could not be reached, or said it is out of service
    RATE_LIMIT_EXCEEDED = 2  # it, or our throttle for it, said to slow down
    COST_THRESHOLD = 3  # its price is above the route's maximum
    QUALITY_THRESHOLD = 4  # its delivery rate is below the route's minimum


class AttemptOutcome(ChoiceEnum):
    """What is known about one attempt to send by a provider."""

    PENDING = 0
    ACCEPTED = 1
    REJECTED = 2  # certain: not sent
    UNKNOWN = 3  # may have been sent


class ErrorClass(ChoiceEnum):
    """The kinds of failure of a call to a provider, by what to do next."""

    RECIPIENT = 0  # permanent: no retry, no fallback
    MESSAGE = 1  # permanent: no retry, no fallback
    PROVIDER = 2  # certainly not sent: fall back, else retry later
    ACCOUNT = 3  # as PROVIDER, but about credentials or funds: a person must act
    THROTTLED = 4  # certainly not sent, and does not count as a failed try
    UNKNOWN = 5  # may have been sent: never a blind fallback
    UNMAPPED = 6  # refused with a code that our tables lack: fall back, and show it
    UNSUITABLE = 7  # not by this provider, or not from our sender there: fall back
    NOT_NOW = 8  # the recipient cannot take it now: try later, by the retry table
    HANDSET_OFF = 9  # as NOT_NOW: off, or out of reach
    MAILBOX_FULL = 10  # as NOT_NOW
    GREYLISTED = 11  # as NOT_NOW: their server takes it from us at a second try


# The recipient cannot take a message now, and may later.
TRY_LATER = frozenset(
    {
        ErrorClass.NOT_NOW,
        ErrorClass.HANDSET_OFF,
        ErrorClass.MAILBOX_FULL,
        ErrorClass.GREYLISTED,
    }
)


class CampaignKind(ChoiceEnum):
    """What a campaign is for; routes may be scoped to one."""

    MARKETING = 0  # may wait, must never be sent twice
    TRANSACTIONAL = 1  # codes, alerts, receipts: the recipient is waiting for it


class Keyword(ChoiceEnum):
    """What a recipient asks for with a one-word text to us."""

    STOP = 0  # no more messages
    START = 1  # messages again, after a STOP
    HELP = 2  # who are you?


class UnknownOutcomePolicy(ChoiceEnum):
    """What a route does if it is unknown whether a message was sent."""

    WAIT = 0  # for a receipt until a deadline, then fail: never sends twice
    RESEND = 1  # send again, recorded as such: for codes and alerts


class ProviderState(ChoiceEnum):
    """Whether messages go to a provider."""

    IN_USE = 0
    OUT_OF_USE = 1  # its calls fail
    TRIED_AGAIN = 2  # by one message at a time
    PAUSED = 3  # by a person
    NOT_CONFIGURED = 4


class WebhookOutcome(ChoiceEnum):
    """The outcome of a webhook call or (the last two) of a receipt in one."""

    ACCEPTED = 0
    INBOUND = 1  # accepted, with a message from a handset
    FORGED = 2
    MALFORMED = 3
    TOO_LARGE = 4
    UNKNOWN_PROVIDER = 5  # or one that is not configured, or has no such calls
    WRONG_METHOD = 6  # no POST
    TURNED_AWAY = 7  # refused before it was read: wrong host name, plain HTTP
    FAILED = 8  # an error of ours
    UNMATCHED = 9  # a receipt that belongs to no message of ours
    DISAGREES = 10  # a receipt whose provider or recipient is not the message's
