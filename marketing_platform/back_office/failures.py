"""The latest failures of messages, grouped by their reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from marketing_platform.back_office.links import MESSAGES, listed
from messaging.models import CampaignMessage
from messaging.vocabulary import BulkAct
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import ErrorClass, MessageStatus

SINCE = timedelta(days=1)
LOOKED_AT = 2000  # the latest: the cost is the same in a great outage
GROUPS_AT_MOST = 8
FACTS = ("message_id", "attempt_number", "error_class", "error_code", "error_message")


class Failure(NamedTuple):
    """The error that ended a message; all blank for one without an error."""

    message_id: int
    attempt_number: int
    error_class: int | None = None
    error_code: str = ""
    error_message: str = ""


class Kind(NamedTuple):
    """What is grouped."""

    status: int
    provider: str
    error_class: int | None
    error_code: str


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that failed for one reason."""

    kind: Kind
    count: int
    example: str
    since: datetime

    @property
    def retry_href(self) -> str:
        """The page that asks whether to retry them; "" if it cannot choose them."""
        from messaging.admin.jobs import act_address  # registers, when imported

        if self.kind.error_class is None:
            return ""
        return act_address(
            BulkAct.RETRY,
            status=self.kind.status,
            provider=self.kind.provider,
            error=self.kind.error_class,
            code=self.kind.error_code,
            since=self.since.isoformat(),
        )

    @property
    def reason(self) -> str:
        """In words."""
        error_class = self.kind.error_class
        label = "" if error_class is None else ErrorClass(error_class).label
        return f"{label} {self.kind.error_code}".strip() or self.example

    @property
    def status(self) -> str:
        """In words."""
        return MessageStatus(self.kind.status).label

    @property
    def href(self) -> str:
        """The messages of this status and provider."""
        return listed(
            MESSAGES, status__exact=self.kind.status, provider=self.kind.provider
        )


@dataclass(frozen=True, slots=True)
class Failures:
    """The groups, the largest first, and whether they are all there are."""

    groups: list[Group]
    looked_at: int
    is_all: bool


def failures(*, now: datetime) -> Failures:
    """Why messages failed or bounced in the last 24 hours."""
    lost = CampaignMessage.objects.lost(since=now - SINCE).order_by("-finished_at")
    facts = lost.values_list("pk", "status", "provider", "status_reason")
    rows = list(facts[:LOOKED_AT])
    errors = _errors_of([pk for pk, *_ in rows])
    found: dict[Kind, list[str]] = {}
    for pk, status, provider, reason in rows:
        error = errors.get(pk, Failure(pk, 0))
        kind = Kind(status, provider, error.error_class, error.error_code)
        found.setdefault(kind, []).append(error.error_message or reason)
    groups = [
        Group(kind, len(texts), texts[0], now - SINCE) for kind, texts in found.items()
    ]
    groups.sort(key=lambda each: -each.count)
    return Failures(groups[:GROUPS_AT_MOST], len(rows), is_all=len(rows) < LOOKED_AT)


def _errors_of(ids: Collection[int]) -> dict[int, Failure]:
    """The last error of each message, by an attempt or by a receipt about one."""
    last: dict[int, Failure] = {}
    for each in (*_read(MessageDeliveryAttempt, ids), *_read(DeliveryReceipt, ids)):
        known = last.get(each.message_id)
        if known is None or each.attempt_number >= known.attempt_number:
            last[each.message_id] = each
    return last


def _read(
    model: type[MessageDeliveryAttempt | DeliveryReceipt], ids: Collection[int]
) -> Iterable[Failure]:
    rows = model._default_manager.filter(
        message_id__in=ids, attempt_number__isnull=False, error_class__isnull=False
    )
    return (Failure(*row) for row in rows.order_by("pk").values_list(*FACTS))
