"""Opt-outs, and opt-ins that revoke them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import transaction

from messaging.addresses import former_number
from messaging.audience.recipients import Recipient, Rejection
from messaging.consent.suppression import suppress
from messaging.consent.unsubscribe_links import message_id_in
from messaging.models import CampaignMessage, Suppression
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.signals import report
from routing.text.recipient_keys import address_key


def opt_out(address: str, *, source: str) -> None:
    """Stop marketing to an e-mail address, or all messages to a phone number.

    `source` is where the opt-out came from.
    """
    suppress([address], reason=SuppressionReason.OPTED_OUT, source=source)


def opt_in(address: str) -> None:
    """Revoke an opt-out. Bounces, complaints and operators' entries stay."""
    Suppression.objects.filter(
        address=address_key(address), reason=SuppressionReason.OPTED_OUT
    ).delete()


class SuppressionReport(NamedTuple):
    """How many addresses of a list were added, known or rejected."""

    added: int
    known: int  # suppressed before, or listed twice
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
    """Suppress every address of a list as `suppress` does, or none if that fails."""
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
    """The address to suppress. Numbers of a former plan cannot be sent to, but their
    opt-outs still hold.
    """
    if isinstance(row, Rejection):
        return former_number(row.address)
    return row.address.text


def recipient_of(token: str) -> str | None:
    """The recipient of an unsubscribe link; None if invalid, or the message is gone."""
    message_id = message_id_in(token)
    if message_id is None:
        return None
    message = CampaignMessage.objects.filter(pk=message_id)
    return message.values_list("recipient", flat=True).first()
