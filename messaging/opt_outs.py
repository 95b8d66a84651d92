"""Who said no, and who took it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import transaction

from messaging.models import CampaignMessage, Suppression
from messaging.recipients import Recipient, Rejection
from messaging.unsubscribe_links import message_id_in
from messaging.vocabulary import SuppressionReason
from routing.signals import report

BATCH = 1000  # rows of one statement


def opt_out(address: str, *, source: str) -> None:
    """Let no campaign send to the address any more; `source` is who said so.

    An address that is suppressed already keeps its first reason.
    """
    Suppression.objects.get_or_create(
        address=address,
        defaults={"reason": SuppressionReason.OPTED_OUT, "source": source},
    )


def opt_in(address: str) -> None:
    """Take an opt-out back. A bounce, a complaint or an operator's entry stays."""
    Suppression.objects.filter(
        address=address, reason=SuppressionReason.OPTED_OUT
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
    on_rejected: Callable[[Rejection], None],
) -> SuppressionReport:
    """Suppress every address of a list, or none if the list breaks off.

    An address that is suppressed already keeps its first reason.
    """
    addresses, usable, rejected = set(), 0, 0
    for row in rows:
        if isinstance(row, Rejection):
            on_rejected(row)
            rejected += 1
        else:
            addresses.add(row.address.text)
            usable += 1
    before = Suppression.objects.count()
    Suppression.objects.bulk_create(
        (
            Suppression(address=address, reason=reason, source=source)
            for address in sorted(addresses)
        ),
        batch_size=BATCH,
        ignore_conflicts=True,
    )
    added = Suppression.objects.count() - before
    report("suppress", reason=reason.label, source=source, added=added)
    return SuppressionReport(added, usable - added, rejected)


def recipient_of(token: str) -> str | None:
    """Whose unsubscribe link it is; None when it is none, or its message is gone."""
    message_id = message_id_in(token)
    if message_id is None:
        return None
    message = CampaignMessage.objects.filter(pk=message_id)
    return message.values_list("recipient", flat=True).first()
