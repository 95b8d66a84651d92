"""What receipts make of their message: worked out here, written elsewhere.

Status only moves forward, by `after_receipt`. In whatever order the receipts of an
attempt come, and however often, the end is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from messaging.rules.retrying import retrying
from messaging.transitions import (
    Again,
    Change,
    MessageState,
    Outcomes,
    after_found_part,
    after_lost_parts,
    after_passing_failure,
    after_receipt,
    merged,
)
from messaging.vocabulary import SuppressionReason
from routing.providers.base import Receipt
from routing.receipts.news import News
from routing.receipts.parts import (
    LOST,
    are_all_lost,
    are_of_parts,
    news_of_parts,
)
from routing.rules.delivery_rate import first_verdict
from routing.rules.retry import next_midnight
from routing.rules.retry_table import NO_RULES, Failure, RetryRule, RetryTable
from routing.vocabulary import Channel, ErrorClass, MessageStatus

_GOOD_NEWS = {MessageStatus.SENT, MessageStatus.DELIVERED}


@dataclass(frozen=True, slots=True)
class Retries:
    """When the failures of one message that may pass are tried again."""

    table: RetryTable = NO_RULES
    # The classes of errors in the providers' answers, by attempt number.
    refused: Mapping[int, int] = field(default_factory=dict)

    def again(
        self, message: MessageState, news: News, said: Sequence[News]
    ) -> Again | None:
        """When it is tried again after this failure; None if that is final, or none.

        An attempt that was delivered is never made again, whatever came back later.
        """
        rule = self._rule(message, news)
        if rule is None or _was_delivered(news, said):
            return None
        next_try = rule.next_try(times=self._times_before(news, said))
        if next_try is None:
            return None
        reason = retrying(next_try.note, news.reason)
        return Again(news.received_at + next_try.delay, reason)

    def is_used_up(
        self, message: MessageState, news: News, said: Sequence[News]
    ) -> bool:
        """Whether it was tried as often as the table says, and failed each time."""
        rule, times = self._rule(message, news), self._times_before(news, said)
        return rule is not None and times > 0 and rule.next_try(times=times) is None

    def _rule(self, message: MessageState, news: News) -> RetryRule | None:
        if news.status not in LOST or news.error_class is None:
            return None
        return self.table.rule(
            Failure(
                Channel(message.channel),
                news.provider,
                ErrorClass(news.error_class),
                news.error_code,
            )
        )

    def _times_before(self, news: News, said: Sequence[News]) -> int:
        """How many earlier attempts failed with the same class."""
        reported = {
            each.attempt_number
            for each in said
            if each.status in LOST and each.error_class == news.error_class
        }
        refused = {n for n, cls in self.refused.items() if cls == news.error_class}
        return sum(number < news.attempt_number for number in reported | refused)


NO_RETRIES = Retries()


@dataclass(slots=True)
class Hearing:
    """What the new receipts of one message come to."""

    message: MessageState  # as it stands after those that were heard
    outcomes: Outcomes = field(default_factory=dict)
    retries: Retries = NO_RETRIES
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
        parts, cap = self.message.segments, _after_cap(news, receipt)
        if per_part and are_of_parts([*same, news], parts=parts):
            self._hear_parts([*same, news], same, before=before, cap=cap)
        else:
            attempt = [each for each in before if _is_of_same_attempt(each, news)]
            again = self.retries.again(self.message, news, before)
            if again is None:
                self._judge(news, attempt, before)
            self._move(news, before, again=cap or again)
        reason = _reason_to_suppress(self.message, news, receipt)
        if reason is not None:
            self.suppressed.append((reason, news.provider))

    def count_parts_again(self, said: Sequence[News], *, counted: int) -> None:
        """Apply the receipts of the latest attempt again, now that its number of parts
        is corrected; until now it was taken to be `counted`.
        """
        latest = (self.message.attempt_count, self.message.provider)
        same = [each for each in said if (each.attempt_number, each.provider) == latest]
        if same and are_of_parts(same, parts=self.message.segments):
            self._hear_parts(same, same, before=said, counted=counted)

    def _hear_parts(
        self,
        parts: Sequence[News],
        earlier: Sequence[News],
        *,
        before: Sequence[News],
        cap: Again | None = None,
        counted: int | None = None,
    ) -> None:
        """What receipts of parts come to, which were `earlier` ones before. It is tried
        again only while no part has arrived, and all are known to be lost.
        """
        count = self.message.segments
        *first, last = news_of_parts(parts, parts=count)
        again = self._after_all_parts(parts, before)
        if again is None:
            self._judge(last, _whole(earlier, counted or count), before)
        for each in first:
            self._move(each, before, again=cap, is_of_parts=True)
        self._move(last, before, again=cap or again, is_of_parts=True)
        if again is None:
            self._become(after_lost_parts(self.message, last))
            if are_all_lost(earlier, parts=counted or count):
                self._become(after_found_part(self.message, last))

    def _after_all_parts(
        self, parts: Sequence[News], before: Sequence[News]
    ) -> Again | None:
        """When to try again if all parts are lost, none of them for good."""
        if not are_all_lost(parts, parts=self.message.segments):
            return None
        lost = (each for each in parts if each.status in LOST)
        found = [self.retries.again(self.message, each, before) for each in lost]
        times = [each for each in found if each]
        return max(times) if len(times) == len(found) else None

    def _judge(
        self, news: News, earlier: Sequence[News], before: Sequence[News]
    ) -> None:
        """The first verdict on an attempt counts for or against its provider; a failure
        after which it was tried again is none.
        """
        again, message = self.retries.again, self.message
        statuses = [each.status for each in earlier if not again(message, each, before)]
        is_used_up = self.retries.is_used_up(message, news, before)
        error_class = None if is_used_up else news.error_class
        verdict = first_verdict(news.status, error_class, before=statuses)
        if verdict is not None:
            self.verdicts.append((news.provider, verdict))

    def _move(
        self,
        news: News,
        before: Sequence[News],
        *,
        again: Again | None,
        is_of_parts: bool = False,
    ) -> None:
        if again:
            self._try_again(news, again, is_of_all_parts=is_of_parts)
            return
        self.heed(news, before=before, is_of_parts=is_of_parts)
        if news.status in _GOOD_NEWS and self.message.attempt_count > 1:
            self.may_have_arrived_twice = True

    def _try_again(
        self, news: News, again: Again, *, is_of_all_parts: bool = False
    ) -> None:
        change = after_passing_failure(
            self.message, news, self.outcomes, again, is_of_all_parts=is_of_all_parts
        )
        self.is_queued_again |= self._become(change)

    def heed(
        self, news: News, *, before: Sequence[News], is_of_parts: bool = False
    ) -> None:
        """Do what it says. If it calls off a retry, or an e-mail turns out to have been
        delivered, failures that were reported before it count now. Those of parts are
        for good, as other parts may have arrived.
        """
        was_queued = self.message.status == MessageStatus.QUEUED
        is_moved = self._become(after_receipt(self.message, news, self.outcomes))
        is_called_off = was_queued and news.status in _GOOD_NEWS
        is_delivered = news.status == MessageStatus.DELIVERED
        if not (is_moved and (is_called_off or is_delivered)):
            return
        for each in before:
            if each.status in LOST and _is_of_same_attempt(each, news):
                again = self.retries.again(self.message, each, [*before, news])
                if again and not is_of_parts:
                    self._try_again(each, again)
                else:
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
    retries: Retries,
    per_part: Mapping[str, bool],
) -> Hearing:
    """Take in the new ones of what was said of a message, in the order of `said`.

    `receipts` are the new ones, by their ids on record.
    """
    hearing = Hearing(message, outcomes, retries)
    for place, news in enumerate(said):
        if receipt := receipts.get(news.pk):
            hearing.hear(
                news,
                receipt,
                before=said[:place],
                per_part=per_part.get(news.provider, False),
            )
    return hearing


def _after_cap(news: News, receipt: Receipt) -> Again | None:
    """When the carrier takes messages again; None if no cap of its is reached."""
    if not receipt.cap_zone:
        return None
    return Again(next_midnight(news.received_at, receipt.cap_zone), news.reason)


def _whole(parts: Sequence[News], count: int) -> list[News]:
    """What these receipts of parts said of the whole message in the end."""
    return news_of_parts(parts, parts=count)[-1:] if parts else []


def _was_delivered(news: News, said: Sequence[News]) -> bool:
    return any(
        each.status == MessageStatus.DELIVERED and _is_of_same_attempt(each, news)
        for each in said
    )


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
