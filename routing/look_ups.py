"""Look-ups: asking a provider what became of a message that it may have sent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from routing.providers.base import (
    Enquiry,
    LookUpFailed,
    LookUpNotSupported,
    LookUpRefused,
    Receipt,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.providers.transport.deadline import DEFAULT_SECONDS
from routing.reference import spellings_of
from routing.text.recipient_keys import is_same_recipient
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a look-up: the provider's status, or why it could not be asked.

    With neither, the provider does not have the message: it was certainly not sent. So
    it was if all `doubtful` messages there are known to be others. If it `is_refused`,
    the provider did not take the question, and may be asked after `retry_after`.
    """

    receipt: Receipt | None = None
    problem: str = ""
    doubtful: tuple[str, ...] = ()  # their ids
    is_refused: bool = False
    retry_after: timedelta | None = None


def settling_time(provider_name: str) -> timedelta | None:
    """How long after a call its provider may be asked; None if it cannot be asked."""
    try:
        return registry.get(provider_name).settling_time
    except (UnknownProvider, ProviderNotConfigured):
        return None


def providers_to_ask() -> list[str]:
    """The names of the providers that can be asked."""
    return [name for name in registry.names() if settling_time(name)]


def sent_as(provider_name: str) -> dict[str, str]:
    """The account and sender that messages leave by now; {} if it cannot be asked.

    Kept with a call whose outcome is unknown, because the options may change before
    the provider is asked about it.
    """
    if settling_time(provider_name) is None:
        return {}
    provider = registry.get(provider_name)
    return {"account": provider.account, "sender": provider.sender}


def first_look(
    provider_name: str, *, verdict_wait: timedelta, is_call_over: bool
) -> timedelta:
    """How long to wait for a receipt before doing anything else about a message.

    The call of a lost worker may still be under way until its time-out.
    """
    settling = settling_time(provider_name)
    if settling is None:
        return verdict_wait
    if not is_call_over:
        options = registry.get(provider_name).options
        settling += timedelta(seconds=float(options.get("TIMEOUT", DEFAULT_SECONDS)))
    return min(settling, verdict_wait)


def look_up(*, provider_name: str, enquiry: Enquiry) -> Finding:
    """Ask the provider once; never raises.

    Another account than the one that was used cannot tell. The message it finds by our
    reference must have gone to the same recipient. Runs in a thread, where no database
    connection is held.
    """
    try:
        provider = registry.get(provider_name)
        if enquiry.account not in {"", provider.account}:
            return Finding(problem="Its account has been changed since.")
        return _finding(provider.look_up(_spelt(enquiry, provider_name)), enquiry)
    except LookUpRefused as error:
        return Finding(
            problem=str(error), is_refused=True, retry_after=error.retry_after
        )
    except LookUpFailed as error:
        return Finding(problem=str(error), doubtful=error.doubtful)
    except (
        LookUpNotSupported,
        UnknownProvider,
        ProviderNotConfigured,
    ) as error:
        return Finding(problem=str(error))
    except BaseException:
        logger.exception("A look-up at %s failed", provider_name)
        return Finding(problem="The adapter failed; see the log.", is_refused=True)


def _spelt(enquiry: Enquiry, provider_name: str) -> Enquiry:
    reference = enquiry.message.reference
    return replace(enquiry, spellings=spellings_of(reference, provider=provider_name))


def _finding(receipt: Receipt | None, enquiry: Enquiry) -> Finding:
    if receipt is None:
        return Finding()
    recipient = receipt.recipient
    if recipient and not is_same_recipient(recipient, enquiry.message.recipient):
        return Finding(problem="The message found went to another recipient.")
    return Finding(_as_looked_up(receipt))


def _as_looked_up(receipt: Receipt) -> Receipt:
    """A message that the provider has was accepted, even if it is not sent on yet.

    An event that a webhook reports too keeps its id, so that it counts once.
    """
    status = f"{receipt.provider_status} (looked up)"
    looked_up = replace(receipt, provider_status=status)
    if receipt.status is not None:
        return looked_up
    return replace(
        looked_up, status=MessageStatus.SENT, event_id=f"{receipt.event_id}:looked-up"
    )
