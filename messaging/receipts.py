"""What receipts make of their message: worked out here, written elsewhere.

Status only moves forward, by `after_receipt`. In whatever order the receipts of an
attempt come, and however often, the end is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from messaging.transitions import (
    Change,
    MessageState,
    Outcomes,
    after_carrier_cap,
    after_lost_parts,
    after_receipt,
    merged,
)
from messaging.vocabulary import SuppressionReason
from routing.providers.base import Receipt
from routing.receipts.news import News
from routing.receipts.parts import are_of_parts, news_of_parts
from routing.rules.delivery_rate import first_verdict
from routing.rules.retry import next_midnight
from routing.vocabulary import Channel, ErrorClass, MessageStatus

_GOOD_NEWS = {MessageStatus.SENT, MessageStatus.DELIVERED}


@dataclass(slots=True)
class Hearing:
    """What the new receipts of one message come to."""

    message: MessageState  # as it stands after those that were heard
    outcomes: Outcomes = field(default_factory=dict)
    heard: list[News] = field(default_factory=list)
    change: Change | None = None
    # For or against a provider: whether it delivered.
    verdicts: list[tuple[str, bool]] = field(default_factory=list)
    # Whether to hold back its recipient, why, and which provider says so.
    suppressed: list[tuple[SuppressionReason, str]] = field(default_factory=list)
    is_queued_again: bool = False
    may_have_arrived_twice: bool = False

    def hear(
        self, news: News, receipt: Receipt, *, before: Sequence[News], per_part: bool
    ) -> None:
        """Take in one receipt. `before` is what is on record from before it; `per_part`
        tells whether its provider sends a receipt for each part of a message.
        """
        self.heard.append(news)
        same = [each for each in before if _is_of_same_call(each, news)]
        together, parts = [*same, news], self.message.segments
        if per_part and are_of_parts(together, parts=parts):
            whole = news_of_parts(together, parts=parts)
            earlier = news_of_parts(same, parts=parts)[-1:] if same else []
            self._judge(whole[-1], earlier)
            for each in whole:
                self._move(each, receipt, before)
            self._become(after_lost_parts(self.message, whole[-1]))
        else:
            attempt = (each for each in before if _is_of_same_attempt(each, news))
            self._judge(news, list(attempt))
            self._move(news, receipt, before)
        reason = _reason_to_suppress(self.message, news, receipt)
        if reason is not None:
            self.suppressed.append((reason, news.provider))

    def count_parts_again(self, said: Sequence[News], *, counted: int) -> None:
        """Apply the receipts of the latest attempt again, now that its number of parts
        is corrected; until now it was taken to be `counted`.
        """
        latest = (self.message.attempt_count, self.message.provider)
        same = [each for each in said if (each.attempt_number, each.provider) == latest]
        parts = self.message.segments
        if not same or not are_of_parts(same, parts=parts):
            return
        whole = news_of_parts(same, parts=parts)
        self._judge(whole[-1], news_of_parts(same, parts=counted)[-1:])
        for each in whole:
            self.heed(each, before=said)
        self._become(after_lost_parts(self.message, whole[-1]))

    def _judge(self, news: News, before: Sequence[News]) -> None:
        """The first verdict on an attempt counts for or against its provider."""
        statuses = [each.status for each in before]
        verdict = first_verdict(news.status, news.error_class, before=statuses)
        if verdict is not None:
            self.verdicts.append((news.provider, verdict))

    def _move(self, news: News, receipt: Receipt, before: Sequence[News]) -> None:
        if receipt.cap_zone:
            resumes_at = next_midnight(news.received_at, receipt.cap_zone)
            change = after_carrier_cap(
                self.message, news, self.outcomes, resumes_at=resumes_at
            )
            self.is_queued_again |= self._become(change)
        else:
            self.heed(news, before=before)
            if news.status in _GOOD_NEWS and self.message.attempt_count > 1:
                self.may_have_arrived_twice = True

    def heed(self, news: News, *, before: Sequence[News]) -> None:
        """Do what it says. If it calls off a retry, failures that were reported before
        it count now.
        """
        was_queued = self.message.status == MessageStatus.QUEUED
        is_moved = self._become(after_receipt(self.message, news, self.outcomes))
        if not (is_moved and was_queued and news.status == MessageStatus.SENT):
            return
        for each in before:
            is_failure = each.status == MessageStatus.FAILED
            if is_failure and _is_of_same_attempt(each, news):
                self._become(after_receipt(self.message, each, self.outcomes))

    def _become(self, change: Change | None) -> bool:
        if change is None:
            return False
        self.change = merged(self.change, change)
        self.message = self.message.changed(change)
        return True


def hear_all(
    message: MessageState,
    said: Sequence[News],
    receipts: Mapping[int, Receipt],
    *,
    outcomes: Outcomes,
    per_part: Mapping[str, bool],
) -> Hearing:
    """Take in the new ones of what was said of a message, in the order of `said`.

    `receipts` are the new ones, by their ids on record.
    """
    hearing = Hearing(message, outcomes)
    for place, news in enumerate(said):
        if receipt := receipts.get(news.pk):
            hearing.hear(
                news,
                receipt,
                before=said[:place],
                per_part=per_part.get(news.provider, False),
            )
    return hearing


def _is_of_same_attempt(news: News, other: News) -> bool:
    return news.attempt_number == other.attempt_number


def _is_of_same_call(news: News, other: News) -> bool:
    return _is_of_same_attempt(news, other) and news.provider == other.provider


def _reason_to_suppress(
    message: MessageState, news: News, receipt: Receipt
) -> SuppressionReason | None:
    if receipt.complained:
        return SuppressionReason.COMPLAINT
    if receipt.opted_out:
        return SuppressionReason.OPTED_OUT
    return SuppressionReason.HARD_BOUNCE if _is_hard_bounce(message, news) else None


def _is_hard_bounce(message: MessageState, news: News) -> bool:
    """Whether the mailbox does not exist. A number out of reach today may be back.

    Failed are those that the provider itself did not send to, as it knows that already.
    """
    return (
        message.channel == Channel.EMAIL
        and news.status in {MessageStatus.BOUNCED, MessageStatus.FAILED}
        and news.error_class == ErrorClass.RECIPIENT
    )
