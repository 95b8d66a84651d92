"""Look-ups: asking providers about messages whose outcome is unknown.

If no receipt has come in its usual time, a provider that can be asked is asked, with
growing pauses, until it gives an answer or the wait for a verdict is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Thread

from django.db import transaction
from django.db.models import Q

from messaging.models import CampaignMessage
from messaging.queue.claimed import Claimed, claimed_from_row, content_of
from messaging.queue.quarantine import (
    may_be_of_one_message,
    quarantined_if_it_fails,
)
from messaging.queue.receipts import record_receipts
from messaging.reconciliation import NOT_FOUND
from routing.decision.planner import RoutingTable
from routing.dispatch import SendResult, missing
from routing.look_ups import Finding, look_up, providers_to_ask
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.providers.base import Enquiry, OutboundMessage, Receipt
from routing.rules.route import Route
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)

AT_ONCE = 8  # per worker, in their own threads: they take no room from sending
SHORTEST_PAUSE = timedelta(seconds=10)  # between two look-ups of one message


@dataclass(frozen=True, slots=True)
class LookUp:
    """A message that this worker asks about while it holds its lease."""

    message: CampaignMessage
    content: OutboundMessage
    route: Route | None  # None: no route covers it any more
    tried: tuple[str, ...]  # in this round; the last one may have the message
    called_at: datetime  # when that one was called, or shortly before
    asked_at: datetime
    sent_as: Mapping[str, str]  # see `routing.look_ups.sent_as`
    lease_expires_at: datetime

    @property
    def provider(self) -> str:
        """The provider that may have the message."""
        return self.tried[-1]

    @property
    def enquiry(self) -> Enquiry:
        """The question to that provider."""
        until = self.message.unknown_since or self.called_at
        return Enquiry(
            self.content,
            since=self.called_at,
            until=until,
            asked_at=self.asked_at,
            account=self.sent_as.get("account", ""),
            sender=self.sent_as.get("sender", ""),
        )


class LookUps:
    """Looks messages up for one worker, in threads that never touch the database."""

    def __init__(
        self,
        *,
        owner: int,
        lease: timedelta,
        verdict_wait: timedelta,
        routes: RoutingTable,
    ) -> None:
        self._owner = owner
        self._lease = lease
        self._verdict_wait = verdict_wait
        self._routes = routes
        self._under_way: dict[int, float] = {}  # message: when to give up
        self._done: SimpleQueue[tuple[LookUp, Finding]] = SimpleQueue()

    @property
    def in_flight(self) -> int:
        """How many are under way; one whose adapter hangs counts for one lease."""
        now = time.monotonic()
        return sum(give_up_at > now for give_up_at in self._under_way.values())

    def begin(self, *, now: datetime) -> None:
        """Ask about messages that are due for a look-up, while there are threads."""
        room = AT_ONCE - self.in_flight
        if room <= 0 or not CampaignMessage.objects.lease_expired(now).exists():
            return
        providers = providers_to_ask()
        for each in self._take(providers, room, now):
            give_up_at = time.monotonic() + self._lease.total_seconds()
            self._under_way[each.message.pk] = give_up_at
            Thread(target=self._ask, args=(each,), name="look-up", daemon=True).start()

    def finish(self, *, now: datetime) -> list[tuple[Claimed, SendResult]]:
        """Act on the responses; returns the messages that were certainly not sent.

        Another worker may have taken a message over in the meantime: every change is
        fenced by the lease, or harmless if made twice.
        """
        certain = []
        for each, finding in self._come_back():
            try:
                certain += self._settle(each, finding, now)
            except Exception as error:
                if not may_be_of_one_message(error):
                    raise
                logger.exception("Unreadable look-up response for %s.", each.message.pk)
                self._ask_again(each, "unreadable response; see the log", now)
        return certain

    def _settle(
        self, each: LookUp, finding: Finding, now: datetime
    ) -> list[tuple[Claimed, SendResult]]:
        if finding.receipt is not None:
            self._found(each, finding.receipt, now)
        elif finding.problem and not _are_others(each, finding.doubtful):
            self._ask_again(each, finding.problem, now)
        elif each.route is None:
            self._ask_again(each, "not found, but no route covers it any more", now)
        else:
            note_missing(each, now)
            return [_certainly_not_sent(each, each.route)]
        return []

    def _take(
        self, providers: Sequence[str], limit: int, now: datetime
    ) -> list[LookUp]:
        """Take over the leases of messages that are due for a look-up."""
        taken = []
        with transaction.atomic():
            messages = list(
                CampaignMessage.objects.select_for_update(
                    skip_locked=True, of=("self",)
                )
                .lease_expired(now)
                .filter(can_be_asked_about(now - self._verdict_wait, providers))
                .select_related("campaign")
                .order_by("lease_expires_at")[:limit]
            )
            CampaignMessage.objects.filter(pk__in=[m.pk for m in messages]).update(
                lease_owner=self._owner, lease_expires_at=now + self._lease
            )
            attempts = _attempts_of(messages)
            for message in messages:
                unknown_since = message.unknown_since
                with quarantined_if_it_fails(
                    message, now=now, unknown_since=unknown_since
                ):
                    taken.append(self._look_up(message, attempts[message.pk], now))
        return taken

    def _look_up(
        self,
        message: CampaignMessage,
        attempts: Sequence[MessageDeliveryAttempt],
        now: datetime,
    ) -> LookUp:
        tried = _tried(attempts)
        content = content_of(
            message, attempt_number=message.attempt_count, provider=tried[-1]
        )
        return LookUp(
            message=message,
            content=content,
            route=self._routes.route(message.destination, now=now),
            tried=tried,
            called_at=_called_at(attempts[-1], self._lease),
            asked_at=now,
            sent_as=attempts[-1].decision.get("sent_as", {}),
            lease_expires_at=now + self._lease,
        )

    def _ask(self, each: LookUp) -> None:
        finding = look_up(provider_name=each.provider, enquiry=each.enquiry)
        self._done.put((each, finding))

    def _come_back(self) -> list[tuple[LookUp, Finding]]:
        done = []
        with suppress(Empty):
            while True:
                done.append(self._done.get_nowait())
        for each, _ in done:
            self._under_way.pop(each.message.pk, None)
        return done

    def _found(self, each: LookUp, receipt: Receipt, now: datetime) -> None:
        """Settle the message by the provider's answer, as by a receipt."""
        if _is_of_another(each, receipt.external_message_id):
            self._ask_again(each, "it found a different message", now)
            return
        record_receipts(
            provider_name=each.provider, receipts=[receipt], raw=receipt.raw, now=now
        )
        # A status that is on record already has not settled it, and will not do so now.
        self._ask_again(each, f"it reports {receipt.provider_status}", now)

    def _ask_again(self, each: LookUp, problem: str, now: datetime) -> None:
        """Release the lease until a later look-up, if it is still ours."""
        since = each.message.unknown_since or now
        next_look = now + max(SHORTEST_PAUSE, now - since)
        CampaignMessage.objects.filter(
            pk=each.message.pk,
            status=MessageStatus.SENDING,
            lease_owner=self._owner,
            lease_expires_at=each.lease_expires_at,
        ).update(
            lease_owner=None,
            lease_expires_at=min(next_look, since + self._verdict_wait),
            status_reason=f"Look-up at {each.provider}: {problem.rstrip('.')}."[:500],
        )


def can_be_asked_about(unknown_after: datetime, providers: Sequence[str]) -> Q:
    """Messages whose outcome became unknown after this, at providers to ask."""
    return Q(unknown_since__gt=unknown_after, provider__in=providers)


def note_missing(each: LookUp, now: datetime) -> None:
    """Record that the message's provider does not have it."""
    receipt = Receipt(
        event_id=f"{each.content.reference}:{NOT_FOUND}",
        reference=each.content.reference,
        external_message_id="",
        status=None,
        provider_status=f"{NOT_FOUND} (looked up)",
    )
    record_receipts(provider_name=each.provider, receipts=[receipt], raw="", now=now)


def _certainly_not_sent(each: LookUp, route: Route) -> tuple[Claimed, SendResult]:
    claimed = claimed_from_row(
        each.message,
        route,
        content=each.content,
        tried=each.tried,
        lease_expires_at=each.lease_expires_at,
    )
    return claimed, missing(each.provider, attempted_at=each.called_at)


def _are_others(each: LookUp, doubtful: Sequence[str]) -> bool:
    """Whether there are doubtful messages, and all of them are others of ours."""
    return bool(doubtful) and all(_is_of_another(each, found) for found in doubtful)


def _is_of_another(each: LookUp, external_message_id: str) -> bool:
    """Whether the provider found another message to the same recipient.

    That can happen if it returns no reference. The other message's attempt may be
    unknown too: then only its receipts have the id.
    """
    if not external_message_id:
        return False
    found = {"provider": each.provider, "external_message_id": external_message_id}
    attempts = MessageDeliveryAttempt.objects.filter(**found)
    receipts = DeliveryReceipt.objects.filter(
        **found, message__recipient=each.message.recipient
    )
    return any(
        rows.exclude(message=each.message).exists() for rows in (attempts, receipts)
    )


def _attempts_of(
    messages: Sequence[CampaignMessage],
) -> dict[int, list[MessageDeliveryAttempt]]:
    """Each message's attempts on record, the latest last."""
    attempts: dict[int, list[MessageDeliveryAttempt]] = {}
    for attempt in MessageDeliveryAttempt.objects.filter(
        message__in=messages, is_late=False
    ).order_by("attempt_number"):
        attempts.setdefault(attempt.message_id, []).append(attempt)
    return attempts


def _tried(attempts: Sequence[MessageDeliveryAttempt]) -> tuple[str, ...]:
    """The providers of the current round, which began with the last first choice."""
    tried: list[str] = []
    for attempt in reversed(attempts):
        if attempt.provider in tried:
            break
        tried.insert(0, attempt.provider)
        if attempt.fallback_reason is None:
            break
    return tuple(tried)


def _called_at(attempt: MessageDeliveryAttempt, lease: timedelta) -> datetime:
    """When the call was made. For a lost worker only the end of its lease is known."""
    expired_at = attempt.decision.get("lease_expired_at")
    if expired_at is None:
        return attempt.attempted_at
    return datetime.fromisoformat(expired_at) - lease
