"""The status of a message: the one module that decides, writes and counts its changes.

                claimed                  accepted           delivered
    Queued ---------------> Sending ------------------> Sent ---------> Delivered
     ^ | ^                   |  |  |                      |                 |
     | | |  retry, put back  |  |  | rejected             | failed,         | bounced
     | | +-------------------+  |  v                      v bounced         v (e-mail)
     | |                        |  Failed                Failed, Bounced <--+
     | | held for good          |
     | v                        | may have been sent
     | Cancelled,               v
     | Suppressed,           Sending, until a receipt or a look-up settles it: Sent,
     | Expired               Delivered, Failed, Bounced; at the deadline: Failed
     |
     +--- retried by hand: Failed, Bounced, Cancelled, Suppressed, Expired; and, at the
          risk of a second copy, Sending of unknown outcome

Sending means one of three things: see `SendingPhase`.

A pure function turns an event into a `Change`. `write` applies changes to rows that the
caller has locked, and counts them; `messaging.queue.record_sql` writes a worker's
changes, fenced by its lease, with the same columns. Nothing else writes a status.

A message counts as Queued on the day it was created, as Sent on the day of `sent_at`,
and as its final status on the day of `finished_at`. All three dates are on its row, so
the statistics can be rebuilt from the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from django.db import transaction

from messaging.models import CampaignMessage, CampaignMessageQuerySet
from routing.receipts.news import News
from routing.rules.decide import AwaitVerdict, FallBack, GiveUp, Retry, Sent, Step
from routing.rules.tally import Counts, TallySheet, status_counts
from routing.sql_rows import Columns, as_json, derived_table, prepared_cursor
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
# Final, and the recipient got nothing: these may be retried by hand.
RETRYABLE = tuple(status for status in ENDS if status != MessageStatus.DELIVERED)

_VERDICTS = (MessageStatus.DELIVERED, MessageStatus.FAILED, MessageStatus.BOUNCED)

NO_VERDICT = "Outcome unknown: no receipt before the deadline."
BATCH = 1000  # messages per transaction, which blocks all other writers on SQLite
# The columns that a change reads.
COUNTED = ("channel", "provider", "status", "sent_at", "finished_at")
CAMPAIGN_CANCELLED = "The campaign was cancelled."


class SendingPhase(Enum):
    """What Sending means for a message; two columns decide."""

    IN_FLIGHT = "a worker holds its lease and is calling its provider"
    AWAITING_VERDICT = "its outcome is unknown; its lease ends at the deadline"
    BEING_LOOKED_UP = "its outcome is unknown; a worker holds its lease and is asking"


def sending_phase(message: CampaignMessage) -> SendingPhase | None:
    """The phase the message is in; None if it is not Sending."""
    if message.status != MessageStatus.SENDING:
        return None
    if message.unknown_since is None:
        return SendingPhase.IN_FLIGHT
    if message.lease_owner is None:
        return SendingPhase.AWAITING_VERDICT
    return SendingPhase.BEING_LOOKED_UP


# --- changes -----------------------------------------------------------------------

# Columns of the message and their new values; `status` is always among them. Columns
# that a change does not name either keep their values ...
Change = Mapping[str, Any]
_KEPT: Columns = {
    "due_at": "timestamptz",
    "retry_count": "smallint",
    "attempt_count": "smallint",
    "provider": "text",
}
# ... or are cleared. The types are PostgreSQL's.
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
    """The new status of a message that the gate holds back, and the reason shown."""

    status: MessageStatus
    reason: str
    due_at: datetime | None = None  # when it may try again; None: unchanged

    def finished_at(self, now: datetime) -> datetime | None:
        """When the message ended; None if it only waits."""
        return None if self.status == MessageStatus.QUEUED else now


class Attempt(NamedTuple):
    """What `after_step` needs to know of the attempt that has ended."""

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
    """The change that a step makes to the message whose attempt has ended.

    `lease` is the owner and end of the lease that a fallback continues under.
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
    """The message has failed for good."""
    return {
        "status": MessageStatus.FAILED,
        "status_reason": reason[:500],
        "finished_at": now,
    }


def held(hold: Hold, *, now: datetime) -> Change:
    """The gate does not let the message leave: it waits, or it ends here."""
    change: dict[str, Any] = {"status": hold.status, "status_reason": hold.reason}
    if hold.due_at:
        change["due_at"] = hold.due_at
    if finished_at := hold.finished_at(now):
        change["finished_at"] = finished_at
    return change


def quarantined(
    reason: str, *, unknown_since: datetime | None = None, now: datetime
) -> Change:
    """The message is taken out of the queue because it makes workers fail.

    `unknown_since` is set if it may have been sent; a receipt can still settle it.
    """
    return {
        "status": MessageStatus.FAILED,
        "status_reason": f"Quarantined: {reason}"[:500],
        "unknown_since": unknown_since,
        "finished_at": now,
        "quarantined_at": now,
    }


def without_verdict(
    message: CampaignMessage, *, reason: str = NO_VERDICT, now: datetime
) -> Change:
    """The outcome stayed unknown. A receipt can still settle the message."""
    return {
        "status": MessageStatus.FAILED,
        "status_reason": reason[:500],
        "unknown_since": message.unknown_since,
        "finished_at": now,
    }


def withdrawn(reason: str, *, now: datetime) -> Change:
    """The message was cancelled before it left."""
    return {
        "status": MessageStatus.CANCELLED,
        "status_reason": reason,
        "finished_at": now,
    }


def queued_again(*, due_at: datetime, reason: str = "") -> Change:
    """The message goes back into the queue."""
    return {
        "status": MessageStatus.QUEUED,
        "due_at": due_at,
        "status_reason": reason[:500],
    }


# --- receipts ----------------------------------------------------------------------


class MessageState(NamedTuple):
    """The columns of a message that receipts read or change."""

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
        """Failed with an unknown outcome: a receipt can still settle it."""
        return self.status == MessageStatus.FAILED and self.unknown_since is not None

    def changed(self, change: Change) -> MessageState:
        """The state after the change."""
        cleared = {name: None for name in self._fields if name in _CLEARED}
        news = {name: each for name, each in change.items() if name in self._fields}
        return self._replace(**{**cleared, **news})


# The outcomes of a message's attempts, as first recorded, by attempt number.
Outcomes = Mapping[int, int]


def after_receipt(
    message: MessageState, news: News, outcomes: Outcomes
) -> Change | None:
    """The change that a receipt makes to the message; None if it changes nothing.

    Any receipt shows that the provider had accepted the message. A worker that still
    holds the lease loses it.
    """
    if news.status is None:
        return None
    status = MessageStatus(news.status)
    if not _is_open_to(status, message, news.attempt_number, outcomes):
        return None
    return _as_reported(message, news, status)


def after_lost_parts(message: MessageState, news: News) -> Change | None:
    """Correct a status drawn from too few parts: the message had more parts than
    assumed, or a part reported lost has arrived.
    """
    if news.status in {None, message.status} or not _is_of_its_sender(message, news):
        return None
    return _as_reported(message, news, MessageStatus(news.status or 0))


def _is_of_its_sender(message: MessageState, news: News) -> bool:
    """Whether receipts of the latest attempt, from its provider, ended the message."""
    return (
        message.status in _VERDICTS
        and message.sent_at is not None
        and message.provider == news.provider
        and message.attempt_count == news.attempt_number
    )


def after_found_part(message: MessageState, news: News) -> Change | None:
    """Call off the retry of a message all of whose parts were said to be lost: one has
    arrived.
    """
    is_latest = message.attempt_count == news.attempt_number
    if message.status != MessageStatus.QUEUED or not is_latest or news.status is None:
        return None
    return _as_reported(message, news, MessageStatus(news.status))


class Again(NamedTuple):
    """When a message is tried again after a failure that may pass, and the reason."""

    due_at: datetime
    reason: str


def after_passing_failure(
    message: MessageState,
    news: News,
    outcomes: Outcomes,
    again: Again,
    *,
    is_of_all_parts: bool = False,
) -> Change | None:
    """Queue the message again: its latest attempt did not arrive, but a later one may.

    It outranks a failure for good, which may be reported of the same attempt, and is
    outranked by a bounce. With `is_of_all_parts`, a status that was drawn from the
    first lost part is corrected.
    """
    number = news.attempt_number
    if not (
        _is_open_to(MessageStatus.FAILED, message, number, outcomes)
        or _has_failed_by_receipt(message, number, outcomes)
        or (is_of_all_parts and _is_of_its_sender(message, news))
    ):
        return None
    return queued_again(due_at=again.due_at, reason=again.reason)


def _has_failed_by_receipt(
    message: MessageState, number: int, outcomes: Outcomes
) -> bool:
    """Only what was sent has `sent_at`: a message that was given up has not."""
    return (
        message.status == MessageStatus.FAILED
        and message.sent_at is not None
        and _decides(message, number, outcomes)
    )


def merged(first: Change | None, then: Change) -> Change:
    """Two successive changes as one."""
    kept = {name: each for name, each in (first or {}).items() if name in _KEPT}
    return {**kept, **then}


def _as_reported(message: MessageState, news: News, status: MessageStatus) -> Change:
    change = {
        "status": status,
        "status_reason": news.reason,
        "sent_at": message.sent_at or news.happened_at,
        "finished_at": None if status == MessageStatus.SENT else news.happened_at,
    }
    if status == MessageStatus.DELIVERED:
        change["provider"] = news.provider  # the one that got through
    return change


def _is_open_to(
    status: MessageStatus, message: MessageState, number: int, outcomes: Outcomes
) -> bool:
    """Whether a receipt for this attempt may move the message to this status.

    Delivered is proof: it ends a pending retry and overrides any earlier status, except
    that of an e-mail that has bounced since. Sent also ends a pending retry, if the
    attempt's outcome was unknown. Any other status counts only if it is about the
    latest attempt. An e-mail may bounce after it was delivered. The order in which an
    attempt's receipts arrive does not change the result.
    """
    if number > message.attempt_count:
        return False  # it was never made
    if status == MessageStatus.DELIVERED:
        has_bounced = message.status == MessageStatus.BOUNCED
        is_email = message.channel == Channel.EMAIL
        is_delivered = message.status == MessageStatus.DELIVERED
        return not is_delivered and not (is_email and has_bounced)
    is_latest = _decides(message, number, outcomes)
    if is_latest and _latest_may_become(message, status):
        return True
    was_unknown = _was_unknown(message, number, outcomes)
    is_retry_pending = message.status == MessageStatus.QUEUED
    return status == MessageStatus.SENT and was_unknown and is_retry_pending


def needs_outcomes(message: MessageState, number: int) -> bool:
    """Whether a receipt's effect depends on the outcomes of the message's attempts."""
    later = message.attempt_count - number
    return later > 0 or (later == 0 and message.status == MessageStatus.QUEUED)


def _decides(message: MessageState, number: int, outcomes: Outcomes) -> bool:
    """Whether the verdict on this attempt is that on the message."""
    return number == message.attempt_count or (
        _was_unknown(message, number, outcomes)
        and _all_later_rejected(message, number, outcomes)
    )


def _was_unknown(message: MessageState, number: int, outcomes: Outcomes) -> bool:
    """Whether the attempt's outcome was unknown, where that matters."""
    is_unknown = outcomes.get(number) == AttemptOutcome.UNKNOWN
    return is_unknown and needs_outcomes(message, number)


def _all_later_rejected(message: MessageState, number: int, outcomes: Outcomes) -> bool:
    """No later attempt was sent, so the verdict on this one decides for the message."""
    later = range(number + 1, message.attempt_count + 1)
    return all(outcomes.get(each) == AttemptOutcome.REJECTED for each in later)


def _latest_may_become(message: MessageState, status: MessageStatus) -> bool:
    """Whether a receipt for the latest attempt may set this status."""
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
# The same for a claim: rows have `provider` and `call_id`; the lease's owner and end
# are parameters.
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
    """The change as a row for SET_CHANGED."""
    return {f"next_{name}": value for name, value in change.items()}


class Changeable(Protocol):
    """The columns by which a message is counted, with their values before a change."""

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
    """Write changes to messages whose rows the caller has locked, and count them.

    The counts go onto the sheet, or straight into the statistics if none is given.
    Model instances are updated too.
    """
    pairs = list(changes)
    if not pairs:
        return
    counted = TallySheet() if sheet is None else sheet
    rows = [{"message_id": each.pk, **as_row(change)} for each, change in pairs]
    statement = _WRITE.format(
        rows=derived_table({"message_id": "bigint", **CHANGE_COLUMNS})
    )
    with prepared_cursor() as cursor:
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
    reason: str = CAMPAIGN_CANCELLED,
    at_most: int = BATCH,
    skip_locked: bool = False,
) -> int:
    """Cancel queued messages of one campaign, or one message, in due order; returns
    how many.

    Batches are read by the due index: each costs the same, however many messages are
    left. Waits for rows that a claim has locked, unless `skip_locked`.
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
    """Count messages that went from Queued or Sending to their `next_status`; rows also
    have `channel` and `provider`.

    Sending and Queued count nothing here: a message may pass through them repeatedly.
    """
    alike = Counter(map(itemgetter("next_status", "channel", "provider"), rows))
    for (status, channel, provider), times in alike.items():
        if status == MessageStatus.SENT or status in ENDS:
            counts = status_counts(status)
            sheet.count(counts, at=now, channel=channel, provider=provider, times=times)


def _count(sheet: TallySheet, message: Changeable, change: Change) -> None:
    """Take back what the message counted as before, and count what it is now."""
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
