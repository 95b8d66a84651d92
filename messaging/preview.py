"""A dry run of a campaign: its results and costs, without queueing anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from messaging.audience.load import (
    Chunk,
    Draft,
    OnRejected,
    drafts_of,
    without_duplicates,
)
from messaging.audience.recipients import RecipientFile, Rejection
from messaging.campaigns import (
    LENIENT,
    CampaignText,
    Strictness,
    check_campaign,
    refuse_a_second,
    refuse_without_rows,
)
from messaging.consent.suppression import suppressed_among
from messaging.rules.merge_fields import as_written
from routing.decision.planner import Planner
from routing.decision.request import RoutingRequest
from routing.money import Money
from routing.rules.decide import first_choice
from routing.rules.route import Destination

REASONS_SHOWN = 20
# The parts of a reason that differ from row to row.
_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")
NO_PROVIDER = "no provider"


class Sample(NamedTuple):
    """A message as its recipient would read it."""

    line: int
    to: str
    subject: str
    body: str


@dataclass(slots=True)
class Share:
    """What one provider would send, at today's prices."""

    messages: int = 0
    unpriced: int = 0
    costs: Counter[str] = field(default_factory=Counter)  # by currency

    def add(self, cost: Money | None) -> None:
        """Count one more message; without a cost it counts as unpriced."""
        self.messages += 1
        if cost is None:
            self.unpriced += 1
        else:
            self.costs[cost.currency] += cost.amount  # type: ignore[assignment]


@dataclass(slots=True)
class Preview:
    """What would happen to the rows, and what the messages would cost."""

    accepted: int = 0  # rows; includes the suppressed
    suppressed: int = 0
    segments: int = 0  # of the messages that would leave
    reasons: Counter[str] = field(default_factory=Counter)
    blanks: Counter[str] = field(default_factory=Counter)
    shares: dict[str, Share] = field(default_factory=dict)
    sample: Sample | None = None

    @property
    def rejected(self) -> int:
        """How many rows were rejected."""
        return self.reasons.total()

    def note(self, rejection: Rejection) -> None:
        """Count a rejected row, by the kind of its reason."""
        kind = _DETAILS.sub("...", rejection.reason)
        is_shown = kind in self.reasons or len(self.reasons) < REASONS_SHOWN
        self.reasons[kind if is_shown else "other reasons"] += 1


def preview_campaign(
    text: CampaignText,
    recipients: RecipientFile,
    *,
    planner: Planner,
    now: datetime,
    on_rejected: OnRejected,
    strictness: Strictness = LENIENT,
) -> Preview:
    """Do everything that queueing the campaign would do, but write nothing.

    Raises the same CampaignErrors.
    """
    wording = check_campaign(
        text, recipients.columns, now=now, reject_blank=strictness.reject_blank
    )
    if strictness.once:
        refuse_a_second(text.name, recipients)
    preview, estimates = Preview(), _Estimates(text, planner, now)
    taken: set[str] = set()
    for chunk in drafts_of(wording, recipients):
        drafts = _usable(chunk, taken, preview, on_rejected)
        suppressed = suppressed_among(
            (draft.own.recipient, text.kind) for draft in drafts
        )
        for draft in drafts:
            preview.sample = preview.sample or _sample(draft, text)
            preview.blanks.update(draft.blanks)
            if (draft.own.recipient, text.kind) in suppressed:
                preview.suppressed += 1
            else:
                preview.segments += draft.own.segments
                provider, cost = estimates.of(draft)
                preview.shares.setdefault(provider, Share()).add(cost)
        preview.accepted += len(drafts)
    if not preview.accepted:
        refuse_without_rows(recipients, rejected=preview.rejected)
    return preview


def _usable(
    chunk: Chunk, taken: set[str], preview: Preview, on_rejected: OnRejected
) -> list[Draft]:
    drafts = []
    for one in without_duplicates(chunk, taken.intersection):
        if isinstance(one, Rejection):
            preview.note(one)
            on_rejected(one)
        else:
            drafts.append(one)
    taken.update(draft.own.recipient for draft in drafts)
    return drafts


def _sample(draft: Draft, text: CampaignText) -> Sample:
    own = draft.own
    return Sample(
        line=draft.row.line,
        to=own.recipient,
        subject=own.subject or text.subject,
        body=as_written(own.body or text.body),
    )


class _Estimates:
    """Where messages would go now, and at what price; cached for similar messages."""

    def __init__(self, text: CampaignText, planner: Planner, now: datetime) -> None:
        self._text = text
        self._planner = planner
        self._now = now
        self._snapshot = planner.snapshot(now=now)
        self._known: dict[Hashable, tuple[str, Money | None]] = {}
        self._turn = 0

    def of(self, draft: Draft) -> tuple[str, Money | None]:
        """The provider and the price; NO_PROVIDER if none may send it now."""
        channel, kind = self._text.terms
        own = draft.own
        to = Destination(channel, own.recipient, own.country, kind)
        request = RoutingRequest(to, own.segments)
        self._turn += 1
        route = self._planner.route(to, now=self._now)
        if route is None:
            return NO_PROVIDER, None
        cache_key = self._planner.cache_key(
            route, now=self._now, snapshot=self._snapshot
        )
        alike = (route.config_id, cache_key.of(request) if cache_key else self._turn)
        if alike in self._known:
            return self._known[alike]
        choices = self._planner.choices(
            route, request, now=self._now, turn=self._turn, snapshot=self._snapshot
        )
        decision = first_choice(route, choices)
        found = (
            (decision.provider, decision.estimate) if decision else (NO_PROVIDER, None)
        )
        if cache_key:
            self._known[alike] = found
        return found


def amounts(costs: Counter[str]) -> str:
    """Costs as people read them: "12.34 USD, 5 EUR"."""
    return ", ".join(
        str(Money(Decimal(amount), currency))
        for currency, amount in sorted(costs.items())
    )
