"""Who said no, and who took it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import transaction

from messaging.addresses import address_key, former_number
from messaging.audience.recipients import Recipient, Rejection
from messaging.consent.suppression import suppress
from messaging.consent.unsubscribe_links import message_id_in
from messaging.models import CampaignMessage, Suppression
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.signals import report


def opt_out(address: str, *, source: str) -> None:
    """Send no marketing to an e-mail address any more, or nothing to a number.

    `source` is who said so.
    """
    suppress([address], reason=SuppressionReason.OPTED_OUT, source=source)


def opt_in(address: str) -> None:
    """Take an opt-out back. A bounce, a complaint or an operator's entry stays."""
    Suppression.objects.filter(
        address=address_key(address), reason=SuppressionReason.OPTED_OUT
    ).delete()


class SuppressionReport(NamedTuple):
    """What became of the rows of a list."""

    added: int
    known: int  # suppressed before, or named twice
    rejected: int


@transaction.atomic
def suppress_all(
    rows: Iterable[Recipient | Rejection],
    *,
    reason: SuppressionReason,
    source: str,
    scope: SuppressionScope | None = None,
    on_rejected: Callable[[Rejection], None],
) -> SuppressionReport:
    """Suppress every address of a list as `suppress` does, or none if it breaks off."""
    addresses, usable, rejected = set(), 0, 0
    for row in rows:
        if address := _address_of(row):
            addresses.add(address)
            usable += 1
        elif isinstance(row, Rejection):
            on_rejected(row)
            rejected += 1
    before = Suppression.objects.count()
    suppress(addresses, reason=reason, source=source, scope=scope)
    added = Suppression.objects.count() - before
    report("suppress", reason=reason.label, source=source, added=added)
    return SuppressionReport(added, usable - added, rejected)


def _address_of(row: Recipient | Rejection) -> str:
    """Nothing is sent to a number of a former plan, but its STOP still holds."""
    if isinstance(row, Rejection):
        return former_number(row.address)
    return row.address.text


def recipient_of(token: str) -> str | None:
    """Whose unsubscribe link it is; None when it is none, or its message is gone."""
    message_id = message_id_in(token)
    if message_id is None:
        return None
    message = CampaignMessage.objects.filter(pk=message_id)
    return message.values_list("recipient", flat=True).first()
