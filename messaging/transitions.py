"""What becomes of a message: the one module that decides, writes and counts it.

                claimed                  accepted           delivered
    Queued ---------------> Sending ------------------> Sent ---------> Delivered
     ^ | ^                   |  |  |                      |                 |
     | | |  retry, put back  |  |  | rejected             | failed,         | bounced
     | | +-------------------+  |  v                      v bounced         v (e-mail)
     | |                        |  Failed                Failed, Bounced <--+
     | | held for good          |
     | v                        | may have been sent
     | Cancelled,               v
     | Suppressed,           Sending, until a receipt or a look-up says: Sent,
     | Expired               Delivered, Failed, Bounced; at the deadline: Failed
     |
     +--- retried by hand: Failed, Bounced, Cancelled, Suppressed, Expired

Sending means one of three things: see `SendingPhase`.

An event is turned into a `Change` by a pure function; `write` puts changes onto rows
that the caller has locked, and counts them; `messaging.queue.record_sql` writes those
of a worker, fenced by its lease, with the same columns. Nothing else writes a status.

A message counts as Queued on the day it was taken in, as Sent on that of `sent_at`, and
as what became of it on that of `finished_at`. All of it is on its row, so that the
statistics can be made anew from the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from django.db import connection, transaction

from messaging.models import CampaignMessage, CampaignMessageQuerySet
from routing.receipts.news import News
from routing.rules.decide import AwaitVerdict, FallBack, GiveUp, Retry, Sent, Step
from routing.rules.tally import Counts, TallySheet, status_counts
from routing.sql_rows import Columns, as_json, derived_table
from routing.statistics.entries import save_counts
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

ENDS = (
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.BOUNCED,
    MessageStatus.CANCELLED,
    MessageStatus.SUPPRESSED,
    MessageStatus.EXPIRED,
)
# It is over with them, and the recipient has nothing: they may be retried by hand.
RETRYABLE = tuple(status for status in ENDS if status != MessageStatus.DELIVERED)

_VERDICTS = (MessageStatus.DELIVERED, MessageStatus.FAILED, MessageStatus.BOUNCED)

NO_VERDICT = "Outcome unknown: no receipt before the deadline."
BATCH = 1000  # messages per transaction: on SQLite, nobody else writes meanwhile
# What a change of a message reads of it.
COUNTED = ("channel", "provider", "status", "sent_at", "finished_at")
OF_A_CAMPAIGN = "The campaign was cancelled."


class SendingPhase(Enum):
    """What Sending means of a message; told by two columns."""

    IN_FLIGHT = "a worker holds its lease, and calls its provider"
    AWAITING_VERDICT = "nobody knows whether it was sent; its lease is the deadline"
    BEING_LOOKED_UP = "nobody knows, and a worker that holds its lease asks"


def sending_phase(message: CampaignMessage) -> SendingPhase | None:
    """Which of the three it is; None of a message that is not Sending."""
    if message.status != MessageStatus.SENDING:
        return None
    if message.unknown_since is None:
        return SendingPhase.IN_FLIGHT
    if message.lease_owner is None:
        return SendingPhase.AWAITING_VERDICT
    return SendingPhase.BEING_LOOKED_UP


# --- changes -----------------------------------------------------------------------

# Columns of the message with what they become, and its `status` always among them. The
# others stay as they were ...
Change = Mapping[str, Any]
_KEPT: Columns = {
    "due_at": "timestamptz",
    "retry_count": "smallint",
    "attempt_count": "smallint",
    "provider": "text",
}
# ... or are cleared, unless the change names them. With PostgreSQL's types.
_CLEARED: Columns = {
    "status_reason": "text",
    "lease_owner": "bigint",
    "lease_expires_at": "timestamptz",
    "unknown_since": "timestamptz",
    "sent_at": "timestamptz",
    "finished_at": "timestamptz",
    "quarantined_at": "timestamptz",
}
_BLANK = dict.fromkeys(_CLEARED) | {"status_reason": ""}


@dataclass(frozen=True, slots=True)
class Hold:
    """What becomes of a message that the gate holds back, and what people read."""

    status: MessageStatus
    reason: str
    due_at: datetime | None = None  # when it may try again; None: as it was

    def finished_at(self, now: datetime) -> datetime | None:
        """When its message ended; None when it only waits."""
        return None if self.status == MessageStatus.QUEUED else now


class Attempt(NamedTuple):
    """The attempt that a step follows, as far as its message changes by it."""

    number: int
    retry_count: int


def after_step(
    step: Step | Hold,
    attempt: Attempt,
    *,
    lease: tuple[int, datetime] | None = None,
    reason: str = "",
    now: datetime,
) -> Change:
    """What a step makes of the message whose attempt has ended.

    `lease` is owner and end of the one that a fallback goes on with.
    """
    match step:
        case Sent():
            return {"status": MessageStatus.SENT, "sent_at": now}
        case FallBack(decision=decision):
            owner, lease_end = lease or (None, None)
            change = {
                "status": MessageStatus.SENDING,
                "attempt_count": attempt.number + 1,
                "provider": decision.provider,
                "lease_owner": owner,
                "lease_expires_at": lease_end,
            }
        case Retry(due_at=due_at, counts_as_retry=counts_as_retry):
            change = {
                "status": MessageStatus.QUEUED,
                "due_at": due_at,
                "retry_count": attempt.retry_count + counts_as_retry,
            }
        case AwaitVerdict(deadline=deadline):
            change = {
                "status": MessageStatus.SENDING,
                "lease_expires_at": deadline,
                "unknown_since": now,
            }
        case Hold():
            return held(step, now=now)
        case GiveUp():
            return given_up(reason, now=now)
    return {**change, "status_reason": reason[:500]} if reason else change


def given_up(reason: str, *, now: datetime) -> Change:
    """It failed for good."""
    return {
        "status": MessageStatus.FAILED,
        "status_reason": reason[:500],
        "finished_at": now,
    }


def held(hold: Hold, *, now: datetime) -> Change:
    """The gate does not let it leave: it waits, or that is its end."""
    change: dict[str, Any] = {"status": hold.status, "status_reason": hold.reason}
    if hold.due_at:
        change["due_at"] = hold.due_at
    if finished_at := hold.finished_at(now):
        change["finished_at"] = finished_at
    return change


def quarantined(
    reason: str, *, unknown_since: datetime | None = None, now: datetime
) -> Change:
    """It is taken out of the queue: it makes workers fail.

    `unknown_since` is given when it may have been sent: a receipt still settles it.
    """
    return {
        "status": MessageStatus.FAILED,
        "status_reason": f"Quarantined: {reason}"[:500],
        "unknown_since": unknown_since,
        "finished_at": now,
        "quarantined_at": now,
    }


def without_verdict(message: CampaignMessage, *, now: datetime) -> Change:
    """Nobody could say whether it was sent. It stays open to a receipt."""
    return {
        "status": MessageStatus.FAILED,
        "status_reason": NO_VERDICT,
        "unknown_since": message.unknown_since,
        "finished_at": now,
    }


def withdrawn(reason: str, *, now: datetime) -> Change:
    """It was cancelled before it left."""
    return {
        "status": MessageStatus.CANCELLED,
        "status_reason": reason,
        "finished_at": now,
    }


def queued_again(*, due_at: datetime, reason: str = "") -> Change:
    """It goes back into the queue."""
    return {"status": MessageStatus.QUEUED, "due_at": due_at, "status_reason": reason}


# --- receipts ----------------------------------------------------------------------


class MessageState(NamedTuple):
    """A message as it stands, as far as receipts look at it or change it."""

    pk: int
    campaign_id: int
    channel: int
    recipient: str
    country: str
    segments: int
    provider: str
    status: int
    attempt_count: int
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    unknown_since: datetime | None

    @property
    def is_unsettled(self) -> bool:
        """Failed without anybody knowing whether it was sent: still open."""
        return self.status == MessageStatus.FAILED and self.unknown_since is not None

    def changed(self, change: Change) -> MessageState:
        """As it stands after the change."""
        cleared = {name: None for name in self._fields if name in _CLEARED}
        news = {name: each for name, each in change.items() if name in self._fields}
        return self._replace(**{**cleared, **news})


# The outcomes of a message's attempts as first recorded, by attempt number.
Outcomes = Mapping[int, int]


def after_receipt(
    message: MessageState, news: News, outcomes: Outcomes
) -> Change | None:
    """What a receipt makes of the message; None when it is no news.

    Whatever a receipt says of a message, its provider had accepted it before. The
    worker that may still hold the lease loses it.
    """
    if news.status is None:
        return None
    status = MessageStatus(news.status)
    if not _is_open_to(status, message, news.attempt_number, outcomes):
        return None
    return _as_said(message, news, status)


def after_lost_parts(message: MessageState, news: News) -> Change | None:
    """Take back what fewer parts had said: there were more than we thought, or a part
    that was said to be lost has come.
    """
    if (
        news.status in {None, message.status}
        or message.status not in {*_VERDICTS}
        or message.sent_at is None
        or (message.provider, message.attempt_count)
        != (news.provider, news.attempt_number)
    ):
        return None
    return _as_said(message, news, MessageStatus(news.status or 0))


def after_carrier_cap(
    message: MessageState, news: News, outcomes: Outcomes, *, resumes_at: datetime
) -> Change | None:
    """Queue it for when its carrier takes messages again: it was not sent."""
    if not _is_open_to(MessageStatus.FAILED, message, news.attempt_number, outcomes):
        return None
    return queued_again(due_at=resumes_at, reason=news.reason)


def merged(first: Change | None, then: Change) -> Change:
    """Two changes, one after the other, as one."""
    kept = {name: each for name, each in (first or {}).items() if name in _KEPT}
    return {**kept, **then}


def _as_said(message: MessageState, news: News, status: MessageStatus) -> Change:
    change = {
        "status": status,
        "status_reason": news.reason,
        "sent_at": message.sent_at or news.happened_at,
        "finished_at": None if status == MessageStatus.SENT else news.happened_at,
    }
    if status == MessageStatus.DELIVERED:
        change["provider"] = news.provider  # of several, the one that got through
    return change


def _is_open_to(
    status: MessageStatus, message: MessageState, number: int, outcomes: Outcomes
) -> bool:
    """Whether a message may move to this status by news of this attempt.

    Delivered is proof: it ends a retry that is pending elsewhere, and corrects whatever
    else was thought of the message, unless an e-mail has bounced since. Sent ends a
    pending retry as well, if nobody had known whether the attempt was sent. Other news
    counts only about the latest attempt, and an e-mail may bounce after it was
    delivered. In whatever order the receipts of an attempt come, the end is the same.
    """
    if number > message.attempt_count:
        return False  # it was never made
    if status == MessageStatus.DELIVERED:
        has_bounced = message.status == MessageStatus.BOUNCED
        is_email = message.channel == Channel.EMAIL
        is_delivered = message.status == MessageStatus.DELIVERED
        return not is_delivered and not (is_email and has_bounced)
    was_unknown = _was_unknown(message, number, outcomes)
    is_latest = number == message.attempt_count or (
        was_unknown and _all_later_rejected(message, number, outcomes)
    )
    if is_latest and _heeds(message, status):
        return True
    is_retry_pending = message.status == MessageStatus.QUEUED
    return status == MessageStatus.SENT and was_unknown and is_retry_pending


def needs_outcomes(message: MessageState, number: int) -> bool:
    """Whether news of this attempt depends on the outcomes of attempts."""
    later = message.attempt_count - number
    return later > 0 or (later == 0 and message.status == MessageStatus.QUEUED)


def _was_unknown(message: MessageState, number: int, outcomes: Outcomes) -> bool:
    """Whether nobody knew if the attempt was sent, as far as that matters."""
    is_unknown = outcomes.get(number) == AttemptOutcome.UNKNOWN
    return is_unknown and needs_outcomes(message, number)


def _all_later_rejected(message: MessageState, number: int, outcomes: Outcomes) -> bool:
    """Certainly none of them was sent: a verdict on this one is the message's."""
    later = range(number + 1, message.attempt_count + 1)
    return all(outcomes.get(each) == AttemptOutcome.REJECTED for each in later)


def _heeds(message: MessageState, status: MessageStatus) -> bool:
    """Whether the message is open to news about its latest attempt."""
    if message.status == MessageStatus.SENDING or message.is_unsettled:
        return True
    if status == MessageStatus.SENT:
        return False
    if status == MessageStatus.BOUNCED:
        is_email = message.channel == Channel.EMAIL
        is_late = is_email and message.status == MessageStatus.DELIVERED
        return is_late or message.status in {
            MessageStatus.SENT,
            MessageStatus.QUEUED,
            MessageStatus.FAILED,
        }
    return message.status == MessageStatus.SENT


# --- writing -----------------------------------------------------------------------

CHANGE_COLUMNS: Columns = {
    "next_status": "smallint",
    **{f"next_{name}": kind for name, kind in {**_KEPT, **_CLEARED}.items()},
}
# For an UPDATE of messages `m` from rows `v` with these columns.
SET_CHANGED = ", ".join(
    [
        "status = v.next_status",
        "call_id = NULL",
        *(f"{name} = COALESCE(v.next_{name}, m.{name})" for name in _KEPT),
        "status_reason = COALESCE(v.next_status_reason, '')",
        *(f"{name} = v.next_{name}" for name in _CLEARED if name != "status_reason"),
    ]
)
# The same for a claim: from rows with `provider` and `call_id`, and owner and end of
# the lease as parameters.
SET_CLAIMED = (
    f"status = {MessageStatus.SENDING:d}, provider = v.provider, call_id = v.call_id, "
    "attempt_count = m.attempt_count + 1, lease_owner = %s, lease_expires_at = %s, "
    "status_reason = ''"
)
_WRITE = f"""
UPDATE messaging_campaignmessage AS m SET {SET_CHANGED}
FROM {{rows}} WHERE m.id = v.message_id
"""  # noqa: S608 - our own names


def as_row(change: Change) -> dict[str, Any]:
    """The change as a row of SET_CHANGED."""
    return {f"next_{name}": value for name, value in change.items()}


class Changeable(Protocol):
    """What the statistics keep apart, and what a message counted for until now."""

    @property
    def pk(self) -> int: ...
    @property
    def channel(self) -> int: ...
    @property
    def provider(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def sent_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...


def write(
    changes: Iterable[tuple[Changeable, Change]], sheet: TallySheet | None = None
) -> None:
    """Write changes onto messages whose rows the caller has locked, and count them.

    The counts go onto the sheet, or at once into the statistics when none is given.
    Objects of the model are changed as well.
    """
    pairs = list(changes)
    if not pairs:
        return
    counted = TallySheet() if sheet is None else sheet
    rows = [{"message_id": each.pk, **as_row(change)} for each, change in pairs]
    statement = _WRITE.format(
        rows=derived_table({"message_id": "bigint", **CHANGE_COLUMNS})
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [as_json(rows)])
    for message, change in pairs:
        _count(counted, message, change)
        if isinstance(message, CampaignMessage):
            for name, value in {**_BLANK, "call_id": None, **change}.items():
                setattr(message, name, value)
    if sheet is None:
        save_counts(counted)


def withdraw(
    messages: CampaignMessageQuerySet,
    *,
    now: datetime,
    reason: str = OF_A_CAMPAIGN,
    at_most: int = BATCH,
    skip_locked: bool = False,
) -> int:
    """Cancel those that are queued, the first due ones first; returns how many.

    Of one campaign, or one message: read by the index of what is due, a batch costs the
    same, however many are left. What a claim has in hand is waited for, unless
    `skip_locked`.
    """
    count = 0
    while count < at_most:
        size = min(BATCH, at_most - count)
        with transaction.atomic():
            queued = messages.queued().order_by("due_at", "id")
            locked = queued.select_for_update(of=("self",), skip_locked=skip_locked)
            rows = list(locked.only(*COUNTED)[:size])
            change = withdrawn(reason, now=now)
            write((each, change) for each in rows)
        count += len(rows)
        if len(rows) < size:
            break
    return count


# --- counting ----------------------------------------------------------------------


def count_settled(
    sheet: TallySheet, rows: Iterable[Mapping[str, Any]], *, now: datetime
) -> None:
    """Count messages that went from Queued or Sending to their `next_status`; rows have
    `channel` and `provider` too.

    Sending and Queued are passed through again and again: they count nothing here.
    """
    alike = Counter(map(itemgetter("next_status", "channel", "provider"), rows))
    for (status, channel, provider), times in alike.items():
        if status == MessageStatus.SENT or status in ENDS:
            counts = status_counts(status)
            sheet.count(counts, at=now, channel=channel, provider=provider, times=times)


def _count(sheet: TallySheet, message: Changeable, change: Change) -> None:
    """Take back what the message counted for, and count what it is now."""
    before = _parts(message.status, message.sent_at, message.finished_at)
    for at, counts in before:
        sheet.take_back(
            counts, at=at, channel=message.channel, provider=message.provider
        )
    after = _parts(change["status"], change.get("sent_at"), change.get("finished_at"))
    for at, counts in after:
        sheet.count(
            counts,
            at=at,
            channel=message.channel,
            provider=change.get("provider", message.provider),
        )


def _parts(
    status: int, sent_at: datetime | None, finished_at: datetime | None
) -> Iterator[tuple[datetime, Counts]]:
    if sent_at:
        yield sent_at, status_counts(MessageStatus.SENT)
    if status in ENDS and finished_at:
        yield finished_at, status_counts(status, was_sent=sent_at is not None)
