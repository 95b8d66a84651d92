"""The values a worker passes on: due messages, claimed ones, results."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from messaging.consent.unsubscribe_links import unsubscribe_url
from messaging.models import Campaign, CampaignMessage, MessageFacts
from messaging.rules.merge_fields import filled_when_it_leaves
from messaging.rules.retrying import retrying
from messaging.transitions import Hold
from routing.decision.request import RoutingRequest, Suitability
from routing.dispatch import SendResult
from routing.health.breakers import CallOutcome
from routing.providers.base import (
    OutboundMessage,
    SendFailure,
    Throttled,
    UnsuitableError,
)
from routing.reference import reference_for
from routing.rules.decide import Decision, Retry, Round, Sent, Step
from routing.rules.retry import PastAttempt
from routing.rules.route import Route
from routing.vocabulary import TRY_LATER, CampaignKind, Channel, MessageStatus


class _Columns(NamedTuple):
    """The columns that a claim needs. Model instances cost ten times as much: they were
    most of the cost of a claim.
    """

    campaign: Campaign
    pk: int
    due_at: str  # in the database's own format: a place in the lane
    recipient: str
    country: str
    subject: str
    body: str
    media_urls: list[str] | None
    segments: int
    expires_at: datetime | None
    provider: str
    attempt_count: int
    retry_count: int
    suppression_id: int | None


class DueMessage(MessageFacts, _Columns):
    """A queued message that is due, its row locked."""

    __slots__ = ()

    status = MessageStatus.QUEUED
    sent_at = finished_at = None

    @property
    def channel(self) -> int:
        """Its campaign's."""
        return self.campaign.channel


# What the steps from claim to record take; recovery has model instances.
AnyMessage = CampaignMessage | DueMessage


# Far more than any route needs. Attempt numbers are part of references and columns
# whose limits are not much higher.
MOST_ATTEMPTS = 32_000


class Claimed(NamedTuple):
    """A message whose lease this worker holds, with the attempt that it will make."""

    message_id: int
    channel: Channel
    attempt_number: int
    retry_count: int
    request: RoutingRequest
    route: Route
    decision: Decision
    content: OutboundMessage
    lease_expires_at: datetime  # it is not sent after this
    tried: tuple[str, ...] = ()  # providers called earlier in this round
    probe_token: datetime | None = None  # set if it probes a provider's open breaker
    call_id: int | None = None  # the first message of its call; None: it goes alone
    past_attempts: tuple[PastAttempt, ...] = ()
    throttled_by: tuple[str, ...] = ()  # of those called earlier in this round

    @property
    def round(self) -> Round:
        """The round so far, with the present provider as tried."""
        return Round(
            tried=(*self.tried, self.decision.provider),
            failed_rounds=self.retry_count,
            past_attempts=self.past_attempts,
            throttled_by=self.throttled_by,
        )

    @property
    def is_retry(self) -> bool:
        """Whether an earlier round has failed, by an answer or by a receipt."""
        return self.request.is_retry or any(
            each.reported is not None or each.error_class in TRY_LATER
            for each in self.past_attempts
        )

    def outcome(self, done: SendResult) -> CallOutcome:
        """What the call's result says about its provider."""
        return CallOutcome(
            provider=done.provider,
            channel=self.channel,
            failure=done.failure,
            probe_token=self.probe_token,
            is_retry=self.request.is_retry,
            call_id=self.call_id,
        )

    def fallen_back(
        self,
        decision: Decision,
        lease_expires_at: datetime,
        *,
        after: SendFailure | None = None,
        probe_token: datetime | None = None,
    ) -> Claimed:
        """The next attempt of the same round, through another provider."""
        number = self.attempt_number + 1
        reference = reference_for(self.message_id, number, provider=decision.provider)
        request, throttled_by = self.request, self.throttled_by
        if isinstance(after, UnsuitableError):
            request = request.refused_by(self.decision.provider, after.code)
        if isinstance(after, Throttled):
            throttled_by = (*throttled_by, self.decision.provider)
        return self._replace(
            attempt_number=number,
            request=request,
            decision=decision,
            lease_expires_at=lease_expires_at,
            probe_token=probe_token,
            call_id=None,
            content=replace(self.content, reference=reference),
            tried=(*self.tried, self.decision.provider),
            throttled_by=throttled_by,
        )


class Result(NamedTuple):
    """One attempt that has ended, and the step to take now."""

    claimed: Claimed
    send_result: SendResult
    step: Step | Hold  # a Hold takes the place of a fallback
    probe_token: datetime | None = None  # of a fallback that probes its provider

    @property
    def reason(self) -> str:
        """Why the message was not sent, or waits; "" if it was sent."""
        if isinstance(self.step, Sent):
            return ""
        if isinstance(self.step, Hold):
            return self.step.reason
        failure = self.send_result.failure
        if failure is None:
            return ""
        code = f" {failure.code}" if failure.code else ""
        reason = f"{self.send_result.provider}{code}: {failure}"
        if isinstance(self.step, Retry) and self.step.note:
            reason = retrying(self.step.note, reason)
        return reason[:500]


class TooManyAttempts(Exception):
    """The message has reached the highest number of attempts that can be stored."""


def next_attempt_number(message: DueMessage) -> int:
    """The number of its next attempt."""
    if message.attempt_count >= MOST_ATTEMPTS:
        raise TooManyAttempts(TooManyAttempts.__doc__)
    return message.attempt_count + 1


def claimed_from_row(
    message: CampaignMessage,
    route: Route,
    *,
    content: OutboundMessage,
    tried: tuple[str, ...],
    lease_expires_at: datetime,
) -> Claimed:
    """Rebuild the `Claimed` of a message's latest attempt, which has ended."""
    *before, provider = tried
    return Claimed(
        message_id=message.pk,
        channel=Channel(message.channel),
        attempt_number=message.attempt_count,
        retry_count=message.retry_count,
        request=RoutingRequest(
            message.destination,
            message.segments,
            message.retry_count > 0,
            Suitability(route.providers).unsuitable(content, country=message.country),
        ),
        route=route,
        decision=Decision(provider, None, {}),
        lease_expires_at=lease_expires_at,
        content=content,
        tried=tuple(before),
    )


def content_of(
    message: AnyMessage, *, attempt_number: int, provider: str
) -> OutboundMessage:
    """The message as it is sent. Marketing e-mail gets a link to unsubscribe."""
    campaign = message.campaign
    body, url = message.body or campaign.body, ""
    if (message.channel, campaign.kind) == (Channel.EMAIL, CampaignKind.MARKETING):
        url = unsubscribe_url(message.pk)
        body = filled_when_it_leaves(body, url)
    return OutboundMessage(
        reference=reference_for(message.pk, attempt_number, provider=provider),
        recipient=message.recipient,
        subject=message.subject or campaign.subject,
        body=body,
        media_urls=tuple(message.media),
        unsubscribe_url=url,
    )
