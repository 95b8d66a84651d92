"""Tables from a provider's codes to our kinds of failure, and how they are read.

A table's values are called with the provider's text and `code`. A code that is not in
the table is an UnmappedError: shown to operators, never retried for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from routing.providers.base import (
    AccountError,
    CarrierCapReached,
    NotNow,
    OutcomeUnknown,
    ProviderError,
    RecipientError,
    SendFailure,
    Throttled,
    UnmappedError,
    UnsuitableError,
)
from routing.vocabulary import ErrorClass

Table = Mapping[str, Callable[..., SendFailure]]

OPTED_OUT = partial(RecipientError, opted_out=True)
UNAVAILABLE = partial(ProviderError, unavailable=True)
# The provider's own limit on messages to one recipient.
RECIPIENTS_LIMIT = partial(NotNow, elsewhere=True)

# What an HTTP status means when the provider gives no code of its own: our account, the
# size of our request, or where and how we call. The last (a wrong path, method or
# header) is the same for every message, and no message's fault. 408 and 425: the
# request was not processed. Any other 4xx may be about the one message.
STATUSES: Table = {
    "303": OutcomeUnknown,  # "see the result there": something was processed
    "401": AccountError,
    "402": AccountError,
    "403": AccountError,
    "404": ProviderError,
    "405": ProviderError,
    "406": ProviderError,
    "407": AccountError,
    "408": UNAVAILABLE,
    "410": ProviderError,
    "411": ProviderError,
    "412": ProviderError,
    "413": UnsuitableError,  # too large for this provider
    "414": ProviderError,
    "415": ProviderError,
    "416": ProviderError,
    "417": ProviderError,
    "421": UNAVAILABLE,  # not the server for this host
    "425": UNAVAILABLE,
    "426": ProviderError,
    "428": ProviderError,
    "429": Throttled,
    "431": ProviderError,
    "451": ProviderError,  # blocked for legal reasons, where we call
    "501": ProviderError,  # it does not know POST
    "503": UNAVAILABLE,
    "505": ProviderError,
    "511": ProviderError,  # a network's log-in page, not the provider
}


def refused(table: Table, code: str, text: str = "") -> SendFailure:
    """The failure that the table has for this code."""
    return table.get(code, UnmappedError)(text, code=code)


def refused_over_http(
    status: int,
    *,
    table: Table,
    code: str = "",
    text: str = "",
    retry_after: timedelta | None = None,
) -> SendFailure:
    """What an answer without acceptance means. `code` is the provider's own.

    A 5xx overrides the code: it may come from a gateway, and a 500 or 502 leaves open
    whether the message was accepted. For a 4xx the code is more precise.
    """
    label = code or f"http-{status}"
    if code in table and 400 <= status < 500:
        failure = refused(table, code, text)
    else:
        make = STATUSES.get(str(status)) or _of_status(status)
        failure = make(text or f"The provider answered with HTTP {status}.", code=label)
    if isinstance(failure, ProviderError | Throttled | NotNow):
        failure.retry_after = retry_after
    return failure


def _of_status(status: int) -> Callable[..., SendFailure]:
    if 300 <= status < 400:
        return ProviderError  # we never follow redirects: nothing was processed
    return UnmappedError if 400 <= status < 500 else OutcomeUnknown


def error_class_of(table: Table, code: str) -> ErrorClass | None:
    """The kind of a code in a receipt; None for no code."""
    return refused(table, code).error_class if code else None


def cap_zone_of(table: Table, code: str) -> str:
    """The time zone of the daily cap that the code stands for; "" for other codes."""
    failure = refused(table, code) if code else None
    return failure.zone if isinstance(failure, CarrierCapReached) else ""


def is_opt_out(table: Table, code: str) -> bool:
    """Whether the code says that the recipient wants no more messages."""
    failure = refused(table, code) if code else None
    return isinstance(failure, RecipientError) and failure.opted_out
