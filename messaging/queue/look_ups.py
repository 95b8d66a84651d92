"""Look-ups: asking providers about messages whose outcome is unknown.

If no receipt has come in its usual time, a provider that can be asked is asked, with
growing pauses, until it gives an answer or the wait for a verdict is over.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
from messaging.rules.look_up_pace import MOST, Pace
from routing.decision.planner import RoutingTable
from routing.dispatch import SendResult, missing
from routing.health.breakers import out_of_use
from routing.health.throttles import Capacity, lock_capacity
from routing.look_ups import Finding, look_up, providers_to_ask
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.providers.base import Enquiry, OutboundMessage, Receipt
from routing.rules.route import Route
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)

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
        # By message: its provider, and when to give up.
        self._under_way: dict[int, tuple[str, float]] = {}
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)  # by provider
        self._done: SimpleQueue[tuple[LookUp, Finding]] = SimpleQueue()

    @property
    def in_flight(self) -> int:
        """How many are under way; one whose adapter hangs counts for one lease."""
        return self._at_providers().total()

    @property
    def have_news(self) -> bool:
        """Whether some have come back, and `finish` is due."""
        return not self._done.empty()

    def begin(self, *, now: datetime) -> None:
        """Ask about messages that are due for a look-up, while there is room.

        Each look-up has a thread of its own, and takes no room from sending.
        """
        under_way = self._at_providers()
        if under_way.total() >= MOST:
            return
        if not CampaignMessage.objects.lease_expired(now).exists():
            return
        for each in self._take(under_way, now):
            give_up_at = time.monotonic() + self._lease.total_seconds()
            self._under_way[each.message.pk] = (each.provider, give_up_at)
            Thread(target=self._ask, args=(each,), name="look-up", daemon=True).start()

    def finish(self, *, now: datetime) -> list[tuple[Claimed, SendResult]]:
        """Act on the responses; returns the messages that were certainly not sent.

        Another worker may have taken a message over in the meantime: every change is
        fenced by the lease, or harmless if made twice. What cannot be done together is
        done one by one.
        """
        done = self._come_back(now)
        if len(done) > 1:
            try:
                return self._settle(done, now)
            except Exception as error:
                if not may_be_of_one_message(error):
                    raise
                logger.exception("Look-ups cannot be settled together.")
        return [certain for one in done for certain in self._settle_alone(one, now=now)]

    def _settle_alone(
        self, one: tuple[LookUp, Finding], *, now: datetime
    ) -> list[tuple[Claimed, SendResult]]:
        try:
            return self._settle([one], now)
        except Exception as error:
            if not may_be_of_one_message(error):
                raise
            each, _ = one
            logger.exception("Unreadable look-up response for %s.", each.message.pk)
            self._ask_again(each, "unreadable response; see the log", now)
            return []

    def _settle(
        self, done: Sequence[tuple[LookUp, Finding]], now: datetime
    ) -> list[tuple[Claimed, SendResult]]:
        """1. put on record what providers have or lack, as by receipts
        2. release the leases of those that this has not settled
        """
        others = _Others(done)
        found, again, certain = [], [], []
        for each, finding in done:
            if finding.receipt is not None:
                if others.is_found(each, finding.receipt.external_message_id):
                    found.append((each, finding.receipt))
                else:
                    again.append((each, "it found a different message"))
            elif finding.problem and not others.have_all(each, finding.doubtful):
                again.append((each, finding.problem))
            elif each.route is None:
                again.append((each, "not found, but no route covers it any more"))
            else:
                found.append((each, _missing(each)))
                certain.append(_certainly_not_sent(each, each.route))
        _put_on_record(found, now)
        # A status that is on record already has not settled it, and will not do so now.
        unsettled = _unsettled(found)
        again += [
            (each, f"it reports {receipt.provider_status}")
            for each, receipt in found
            if receipt.status is not None and each.message.pk in unsettled
        ]
        for each, problem in again:
            self._ask_again(each, problem, now)
        return certain

    def _room(self, under_way: Counter[str], now: datetime) -> Counter[str]:
        """How many look-ups may begin at each provider."""
        out = set(out_of_use())
        return +Counter(
            {
                name: self._paces[name].room(
                    under_way[name], is_in_use=name not in out, now=now
                )
                for name in providers_to_ask()
            }
        )

    def _at_providers(self) -> Counter[str]:
        """How many are under way at each provider."""
        now = time.monotonic()
        return Counter(
            name for name, give_up_at in self._under_way.values() if give_up_at > now
        )

    def _take(self, under_way: Counter[str], now: datetime) -> list[LookUp]:
        """Take over the leases of messages that are due for a look-up.

        Look-ups draw on the throttle that messages do: providers count calls. It is
        locked first, as by claims.
        """
        taken: list[LookUp] = []
        room = self._room(under_way, now)
        at_most = min(room.total(), MOST - under_way.total())
        if not room:
            return taken
        with transaction.atomic():
            capacity = lock_capacity(room.keys())
            capacity.in_flight = under_way
            due = list(
                CampaignMessage.objects.select_for_update(
                    skip_locked=True, of=("self",)
                )
                .lease_expired(now)
                .filter(can_be_asked_about(now - self._verdict_wait, list(room)))
                .select_related("campaign")
                .order_by("lease_expires_at")[:at_most]
            )
            messages = [each for each in due if _fits(each, room, capacity, now)]
            capacity.save()
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

    def _come_back(self, now: datetime) -> list[tuple[LookUp, Finding]]:
        done = []
        with suppress(Empty):
            while True:
                done.append(self._done.get_nowait())
        for each, finding in done:
            self._under_way.pop(each.message.pk, None)
            if finding.is_refused:
                pace = self._paces[each.provider]
                pace.note_refusal(finding.retry_after, now=now)
            else:
                self._paces[each.provider].note_answer()
        return done

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


def _fits(
    message: CampaignMessage, room: Counter[str], capacity: Capacity, now: datetime
) -> bool:
    """Whether its provider may be asked about it now; if so, it takes its place."""
    if room[message.provider] <= 0 or not capacity.take(message.provider, 1, now):
        return False
    room[message.provider] -= 1
    return True


def _missing(each: LookUp) -> Receipt:
    """The record that the message's provider does not have it."""
    return Receipt(
        event_id=f"{each.content.reference}:{NOT_FOUND}",
        reference=each.content.reference,
        external_message_id="",
        status=None,
        provider_status=f"{NOT_FOUND} (looked up)",
    )


def _put_on_record(found: Sequence[tuple[LookUp, Receipt]], now: datetime) -> None:
    by_provider: defaultdict[str, list[Receipt]] = defaultdict(list)
    for each, receipt in found:
        by_provider[each.provider].append(receipt)
    for name, receipts in sorted(by_provider.items()):
        record_receipts(provider_name=name, receipts=receipts, raw="", now=now)


def _unsettled(found: Sequence[tuple[LookUp, Receipt]]) -> set[int]:
    """Those whose receipts have changed nothing."""
    ids = [each.message.pk for each, _ in found]
    messages = CampaignMessage.objects.sending().filter(pk__in=ids) if ids else ()
    return {each.pk for each in messages}


def _certainly_not_sent(each: LookUp, route: Route) -> tuple[Claimed, SendResult]:
    claimed = claimed_from_row(
        each.message,
        route,
        content=each.content,
        tried=each.tried,
        lease_expires_at=each.lease_expires_at,
    )
    return claimed, missing(each.provider, attempted_at=each.called_at)


class _Others:
    """Which messages at providers are known to be others than those looked up.

    A look-up can find one of those to the same recipient if the provider returns no
    reference. The other message's attempt may be unknown too: then only its receipts
    have the id.
    """

    def __init__(self, done: Sequence[tuple[LookUp, Finding]]) -> None:
        ids = {external_id for _, finding in done for external_id in _ids_in(finding)}
        named = Q(
            provider__in={each.provider for each, _ in done},
            external_message_id__in=ids,
        )
        self._found: dict[tuple[str, str], int] = {}  # by now, and the message
        # By provider and id: the messages and, from receipts, their recipients.
        self._known: defaultdict[tuple[str, str], set[tuple[int | None, str]]]
        self._known = defaultdict(set)
        if not ids:
            return
        columns = ("provider", "external_message_id", "message")
        for *key, message in MessageDeliveryAttempt.objects.filter(named).values_list(
            *columns
        ):
            self._known[key[0], key[1]].add((message, ""))
        for *key, message, recipient in DeliveryReceipt.objects.filter(
            named, message__isnull=False
        ).values_list(*columns, "message__recipient"):
            self._known[key[0], key[1]].add((message, recipient))

    def is_found(self, each: LookUp, external_message_id: str) -> bool:
        """Whether this one may be the message's; if so, it is no other's."""
        if not external_message_id:
            return True
        key = each.provider, external_message_id
        if self._have(each, external_message_id):
            return False
        return self._found.setdefault(key, each.message.pk) == each.message.pk

    def have_all(self, each: LookUp, doubtful: Sequence[str]) -> bool:
        """Whether there are doubtful messages, and all of them are on record as others
        of ours.
        """
        return bool(doubtful) and all(self._have(each, found) for found in doubtful)

    def _have(self, each: LookUp, external_message_id: str) -> bool:
        return any(
            message != each.message.pk and recipient in {"", each.message.recipient}
            for message, recipient in self._known[each.provider, external_message_id]
        )


def _ids_in(finding: Finding) -> Iterator[str]:
    if finding.receipt is not None and finding.receipt.external_message_id:
        yield finding.receipt.external_message_id
    yield from filter(None, finding.doubtful)


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
