"""Sending: the step between the queue and a provider's adapter.

`routing.decision.planner` collects the input of a decision, `routing.rules.decide`
picks the provider and gives the reason, `send` calls it, and `next_step` decides what
to do with the result.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from routing.money import Money
from routing.providers.base import (
    Acceptance,
    AccountError,
    NotCalled,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    ProviderError,
    SendFailure,
    UnmappedError,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.providers.transport.deadline import DEFAULT_SECONDS
from routing.rules.costs import cost_of
from routing.vocabulary import AttemptOutcome, Channel

logger = logging.getLogger(__name__)

_Answer = Acceptance | SendFailure


class SendRequest(NamedTuple):
    """A message to send; `estimate` is its cost unless the provider states one."""

    message: OutboundMessage
    segments: int
    estimate: Money | None


class SendResult(NamedTuple):
    """The result of one message of a call: acceptance or failure."""

    provider: str
    attempted_at: datetime
    response_time_ms: int
    acceptance: Acceptance | None = None
    failure: SendFailure | None = None
    cost: Money | None = None

    @property
    def outcome(self) -> AttemptOutcome:
        """What is known about the message now."""
        if self.failure is None:
            return AttemptOutcome.ACCEPTED
        if isinstance(self.failure, OutcomeUnknown):
            return AttemptOutcome.UNKNOWN
        return AttemptOutcome.REJECTED


def send(
    *,
    provider_name: str,
    requests: Sequence[SendRequest],
    not_after: datetime,
    clock: Callable[[], datetime],
) -> list[SendResult]:
    """Call the provider once and return the result of each message; never raises.

    Several messages must share a `batch_key`. From `not_after` on it does not call: by
    then other workers treat the messages as lost, and ask the provider about them.
    Runs in a thread of the window, where no database connection is held.
    """
    attempted_at, started = clock(), time.monotonic()
    answers = _call(provider_name, requests, is_late=attempted_at >= not_after)
    response_time_ms = round((time.monotonic() - started) * 1000)
    return [
        SendResult(
            provider=provider_name,
            attempted_at=attempted_at,
            response_time_ms=response_time_ms,
            acceptance=None if isinstance(each, SendFailure) else each,
            failure=each if isinstance(each, SendFailure) else None,
            cost=cost,
        )
        for each, cost in answers
    ]


def _call(
    provider_name: str, requests: Sequence[SendRequest], *, is_late: bool
) -> Sequence[tuple[_Answer, Money | None]]:
    """The answer for each message, and its cost."""
    failure: SendFailure
    try:
        provider = registry.get(provider_name)
        if is_late:
            raise NotCalled  # noqa: TRY301 - answers like any other failure
        answers = _send(provider, [request.message for request in requests])
        return [
            (each, _cost(each, request, provider.channel))
            for each, request in zip(answers, requests, strict=True)
        ]
    except SendFailure as error:
        failure = error
        _report(provider_name, requests, failure)
    except (UnknownProvider, ProviderNotConfigured) as error:
        failure = AccountError(str(error))
    except BaseException:  # also SystemExit: here it would only end a thread
        # A fault of ours, but the message may have been sent.
        logger.exception("%s failed on %s", provider_name, _names(requests))
        failure = OutcomeUnknown("The adapter failed; see the log.", code="adapter")
    return [(failure, None)] * len(requests)


def _send(provider: Provider, messages: Sequence[OutboundMessage]) -> Sequence[_Answer]:
    if len(messages) == 1:
        return [provider.send(messages[0])]
    return provider.send_batch(messages)


def _cost(answers: _Answer, request: SendRequest, channel: Channel) -> Money | None:
    if isinstance(answers, SendFailure):
        return None
    return cost_of(
        answers, channel=channel, segments=request.segments, estimate=request.estimate
    )


def longest_call() -> timedelta:
    """The longest that a call of any provider may take: its option TIMEOUT."""
    options = [each.get("OPTIONS", {}) for each in registry.definitions.values()]
    seconds = [float(each.get("TIMEOUT", DEFAULT_SECONDS)) for each in options]
    return timedelta(seconds=max(seconds, default=DEFAULT_SECONDS))


def batch_size(provider_name: str) -> int:
    """How many messages a call of the provider takes; 1 if it cannot be used."""
    try:
        return registry.get(provider_name).batch_size
    except (UnknownProvider, ProviderNotConfigured):
        return 1


def batch_key(provider_name: str, message: OutboundMessage) -> Hashable | None:
    """Equal for messages that may share a call; None for one that goes alone.

    Also None for a message that its adapter fails on: alone, it harms no other.
    """
    try:
        return registry.get(provider_name).batch_key(message)
    except Exception:
        logger.exception("%s failed on %s", provider_name, message.reference)
        return None


def given_up(
    *, provider_name: str, attempted_at: datetime, after: timedelta
) -> SendResult:
    """The result of a call whose adapter does not return: unknown."""
    seconds = after.total_seconds()
    logger.error("%s did not come back within %s s.", provider_name, seconds)
    return SendResult(
        provider=provider_name,
        attempted_at=attempted_at,
        response_time_ms=round(seconds * 1000),
        failure=OutcomeUnknown("The adapter hangs; see the log.", code="adapter"),
    )


def missing(provider_name: str, *, attempted_at: datetime) -> SendResult:
    """The result of a call whose provider, when asked, does not have the message."""
    return SendResult(
        provider=provider_name,
        attempted_at=attempted_at,
        response_time_ms=0,
        failure=ProviderError(
            "The look-up showed that the provider does not have it.", code="missing"
        ),
    )


def _report(
    provider_name: str, requests: Sequence[SendRequest], failure: SendFailure
) -> None:
    """Log codes that our tables lack, for operators."""
    if isinstance(failure, UnmappedError):
        logger.error(
            "%s refused %s with code %r, which is not in its table: %s",
            provider_name,
            _names(requests),
            failure.code,
            failure,
        )


def _names(requests: Sequence[SendRequest]) -> str:
    return ", ".join(request.message.reference for request in requests)
