"""From a message to a provider and back: the steps between queue and wire.

`routing.planner` gathers what a decision is made from, `routing.decide` picks the
provider and says why, `hand_over` calls it, and `next_step` says what comes then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from routing.costs import Money, cost_of
from routing.providers.base import (
    Acceptance,
    AccountError,
    NotCalled,
    OutboundMessage,
    OutcomeUnknown,
    ProviderError,
    SendFailure,
    UnmappedError,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.vocabulary import AttemptOutcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HandOver:
    """One call of a provider and what came of it: an acceptance or a failure."""

    provider: str
    attempted_at: datetime
    response_time_ms: int
    acceptance: Acceptance | None = None
    failure: SendFailure | None = None
    cost: Money | None = None

    @property
    def outcome(self) -> AttemptOutcome:
        """What is known of the message now."""
        if self.failure is None:
            return AttemptOutcome.ACCEPTED
        if isinstance(self.failure, OutcomeUnknown):
            return AttemptOutcome.UNKNOWN
        return AttemptOutcome.REJECTED


def hand_over(
    *,
    provider_name: str,
    message: OutboundMessage,
    segments: int,
    estimate: Money | None,
    not_after: datetime,
    clock: Callable[[], datetime],
) -> HandOver:
    """Call the provider once and return what came of it; it never raises.

    `estimate` is what the message costs unless the provider says otherwise. From
    `not_after` on it does not call: others take the message for lost by then, and
    ask the provider whether it has it.
    Runs in a thread of the window, where no database connection is held.
    """
    attempted_at, started = clock(), time.monotonic()
    acceptance, failure, cost = None, None, None
    try:
        provider = registry.get(provider_name)
        if attempted_at >= not_after:
            raise NotCalled  # noqa: TRY301 - told like any other failure
        acceptance = provider.send(message)
        cost = cost_of(
            acceptance, channel=provider.channel, segments=segments, estimate=estimate
        )
    except SendFailure as error:
        failure = error
        _report(provider_name, message, failure)
    except (UnknownProvider, ProviderNotConfigured) as error:
        failure = AccountError(str(error))
    except BaseException:  # also what says to leave: here it would end a thread only
        # A fault of ours, after which the message may have been sent.
        logger.exception("%s failed on %s", provider_name, message.reference)
        failure = OutcomeUnknown("The adapter failed; see the log.", code="adapter")
    return HandOver(
        provider=provider_name,
        attempted_at=attempted_at,
        response_time_ms=round((time.monotonic() - started) * 1000),
        acceptance=acceptance if failure is None else None,
        failure=failure,
        cost=cost,
    )


def given_up(
    *, provider_name: str, attempted_at: datetime, after: timedelta
) -> HandOver:
    """What is known of a call whose adapter does not come back: nothing."""
    seconds = after.total_seconds()
    logger.error("%s did not come back within %s s.", provider_name, seconds)
    return HandOver(
        provider=provider_name,
        attempted_at=attempted_at,
        response_time_ms=round(seconds * 1000),
        failure=OutcomeUnknown("The adapter hangs; see the log.", code="adapter"),
    )


def missing(provider_name: str, *, attempted_at: datetime) -> HandOver:
    """A call that came to nothing: asked about the message, its provider has none."""
    return HandOver(
        provider=provider_name,
        attempted_at=attempted_at,
        response_time_ms=0,
        failure=ProviderError("Looked up, and it has no such message.", code="missing"),
    )


def _report(provider_name: str, message: OutboundMessage, failure: SendFailure) -> None:
    """Tell operators of codes that our tables lack."""
    if isinstance(failure, UnmappedError):
        logger.error(
            "%s refused %s with code %r, which is not in its table: %s",
            provider_name,
            message.reference,
            failure.code,
            failure,
        )
