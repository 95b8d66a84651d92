"""Messages of unknown outcome, settled by a person: sent again, or given up.

Sending again takes the risk of a second copy: if the first proves to have arrived, the
message is marked as a possible duplicate, or its retry is called off if it still waits.
A message that was given up is still settled by a late receipt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice

from django.db import transaction

from messaging.models import (
    ERASED_RECIPIENT,
    CampaignMessage,
    CampaignMessageQuerySet,
    RetentionMark,
)
from messaging.queue.completion import reopen_campaign
from messaging.queue.coordination import notify_workers
from messaging.queue.receipts import apply_receipts
from messaging.reconciliation import Verdict, histories_of
from messaging.transitions import (
    BATCH,
    SendingPhase,
    queued_again,
    sending_phase,
    without_verdict,
    write,
)
from messaging.vocabulary import CampaignStatus
from routing.signals import report
from routing.vocabulary import Channel

BUSY = "A worker is asking about it at the moment; try again later."
SETTLED_MEANWHILE = "Its outcome is no longer unknown."
CANCELLED = "Its campaign was cancelled."


class Settlement(Enum):
    """What a person decides about messages of unknown outcome."""

    SEND_AGAIN = "send again"
    GIVE_UP = "give up"

    @property
    def done(self) -> str:
        """In the past tense."""
        is_again = self is Settlement.SEND_AGAIN
        return "queued to be sent again" if is_again else "given up"

    def applies_to(self, messages: CampaignMessageQuerySet) -> CampaignMessageQuerySet:
        """Those of the messages that can be settled so.

        What has failed because nobody could say whether it was sent may be sent again.
        """
        if self is Settlement.SEND_AGAIN:
            return messages.unsettled().filter(quarantined_at=None)
        return messages.outcome_unknown()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to become of which messages, and why: for the audit log as well."""

    how: Settlement
    reason: str
    chosen_by: str  # the filter, in words


@dataclass(slots=True)
class Settled:
    """How many messages were settled, and why others were not."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def settle(message_ids: Collection[int], ruling: Ruling, *, now: datetime) -> Settled:
    """Settle messages, in batches of one transaction each."""
    settled, ids = Settled(), iter(message_ids)
    while batch := list(islice(ids, BATCH)):
        apply_receipts(now=now)  # they may know more
        with transaction.atomic():
            settle_batch(batch, ruling, settled, now)
    return settled


def settle_batch(
    ids: Sequence[int], ruling: Ruling, settled: Settled, now: datetime
) -> None:
    """Settle some, within the caller's transaction:

    1. lock the messages that can still be settled, and wait for nobody
    2. leave out those that must not be
    3. write the others, and reopen their campaigns
    4. report the act
    """
    chosen = ruling.how.applies_to(CampaignMessage.objects.filter(pk__in=ids))
    locked = chosen.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
    messages = list(locked.select_related("campaign"))
    _count_unlocked(ids, messages, chosen, settled)
    refusals = _refusals(messages, ruling.how, now)
    settled.refused.update(refusals.values())
    allowed = [each for each in messages if each.pk not in refusals]
    if not allowed:
        return
    if ruling.how is Settlement.SEND_AGAIN:
        _send_again(allowed, ruling.reason, now)
    else:
        reason = f"Outcome unknown: given up. {ruling.reason}"
        write((each, without_verdict(each, reason=reason, now=now)) for each in allowed)
    settled.done += len(allowed)
    report(
        ruling.how.value,
        reason=ruling.reason,
        chosen_by=ruling.chosen_by,
        count=len(allowed),
        messages=[each.pk for each in allowed],
    )


def _count_unlocked(
    ids: Sequence[int],
    messages: Sequence[CampaignMessage],
    chosen: CampaignMessageQuerySet,
    settled: Settled,
) -> None:
    found = {each.pk for each in messages}
    if left := set(ids) - found:
        busy = chosen.filter(pk__in=left).count()
        settled.refused += Counter({BUSY: busy, SETTLED_MEANWHILE: len(left) - busy})


def _send_again(
    messages: Sequence[CampaignMessage], reason: str, now: datetime
) -> None:
    """With a full set of their routes' retries."""
    again = queued_again(due_at=now, reason=f"Outcome unknown: sent again. {reason}")
    write((each, {**again, "retry_count": 0}) for each in messages)
    for campaign_id in sorted({each.campaign_id for each in messages}):
        reopen_campaign(campaign_id)
    notify_workers()


def _refusals(
    messages: Sequence[CampaignMessage], how: Settlement, now: datetime
) -> dict[int, str]:
    """By message, why it is left alone."""
    busy = {
        each.pk: BUSY
        for each in messages
        if sending_phase(each) == SendingPhase.BEING_LOOKED_UP
        and each.lease_expires_at is not None
        and each.lease_expires_at > now
    }
    if how is Settlement.GIVE_UP:
        return busy
    return {**_not_again(messages, now), **busy}


def _not_again(messages: Sequence[CampaignMessage], now: datetime) -> Mapping[int, str]:
    """By message, why it must not be sent again."""
    histories = histories_of([each.pk for each in messages])
    pruned_before = RetentionMark.objects.latest_cleared()
    refusals = {}
    for each in messages:
        verdicts = {
            one.verdict(Channel(each.channel)) for one in histories[each.pk].values()
        }
        if Verdict.GOT_THROUGH in verdicts:
            refusals[each.pk] = "It was sent."
        elif each.campaign.status == CampaignStatus.CANCELLED:
            refusals[each.pk] = CANCELLED
        elif each.recipient.startswith(ERASED_RECIPIENT):
            refusals[each.pk] = "Its recipient's data was erased."
        elif pruned_before and each.created_at < pruned_before:
            refusals[each.pk] = "Its text or its history may have been deleted."
        elif each.is_expired(now):
            refusals[each.pk] = "It has expired."
    return refusals
