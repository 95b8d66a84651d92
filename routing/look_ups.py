"""Look-ups: asking a provider what became of a message that it may have sent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from routing.providers.base import (
    Enquiry,
    LookUpFailed,
    LookUpNotSupported,
    Receipt,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.providers.transport.deadline import DEFAULT_SECONDS
from routing.reference_keys import spellings_of
from routing.text.agreement import is_same_recipient
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look-up brought: the provider's word, or why it could not be asked.

    With neither, the provider has no such message: it was certainly not sent.
    """

    receipt: Receipt | None = None
    problem: str = ""


def settling_time(provider_name: str) -> timedelta | None:
    """How long after a call its provider may be asked; None when it cannot be."""
    try:
        return registry.get(provider_name).settling_time
    except (UnknownProvider, ProviderNotConfigured):
        return None


def providers_to_ask() -> list[str]:
    """The names of the providers that can be asked."""
    return [name for name in registry.names() if settling_time(name)]


def first_look(
    provider_name: str, *, verdict_wait: timedelta, is_call_over: bool
) -> timedelta:
    """How long to wait for a receipt before anything else is done about a message.

    The call of a worker that was lost may be under way until its time-out.
    """
    settling = settling_time(provider_name)
    if settling is None:
        return verdict_wait
    if not is_call_over:
        options = registry.get(provider_name).options
        settling += timedelta(seconds=float(options.get("TIMEOUT", DEFAULT_SECONDS)))
    return min(settling, verdict_wait)


def look_up(*, provider_name: str, enquiry: Enquiry) -> Finding:
    """Ask the provider once; it never raises.

    What it has of our reference must have gone to the same recipient. Runs in a thread,
    where no database connection is held.
    """
    try:
        receipt = registry.get(provider_name).look_up(_spelt(enquiry, provider_name))
        return _finding(receipt, enquiry)
    except (
        LookUpFailed,
        LookUpNotSupported,
        UnknownProvider,
        ProviderNotConfigured,
    ) as error:
        return Finding(problem=str(error))
    except BaseException:
        logger.exception("%s fails at look-ups", provider_name)
        return Finding(problem="The adapter failed; see the log.")


def _spelt(enquiry: Enquiry, provider_name: str) -> Enquiry:
    reference = enquiry.message.reference
    return replace(enquiry, spellings=spellings_of(reference, provider=provider_name))


def _finding(receipt: Receipt | None, enquiry: Enquiry) -> Finding:
    if receipt is None:
        return Finding()
    told = receipt.recipient
    if told and not is_same_recipient(told, enquiry.message.recipient):
        return Finding(problem="What was found went to another recipient.")
    return Finding(_as_looked_up(receipt))


def _as_looked_up(receipt: Receipt) -> Receipt:
    """A message that the provider has was accepted, whatever is still being done to it.

    An event that a webhook tells too keeps its id, so that it counts once.
    """
    told = replace(receipt, provider_status=f"{receipt.provider_status} (looked up)")
    if receipt.status is not None:
        return told
    return replace(
        told, status=MessageStatus.SENT, event_id=f"{receipt.event_id}:looked-up"
    )
