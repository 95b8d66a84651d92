"""News that travels up the house: routing tells, messaging listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from django.db.models import Model

# Sent when receipts of a call are stored, before the call is answered. Arguments:
# `provider` (its name), `urgent` (ids of the events that say that a recipient wants no
# more: this must hold from the answer on), `now` (datetime).
receipts_stored = Signal()

# Sent within the transaction that stores a message of a handset, once for each.
# Arguments: `inbound` (InboundMessage).
inbound_recorded = Signal()

# Sent within the transaction of what a person or a program did on purpose, by the
# service that does it. Arguments: `action` (a verb), `target` (the row that it was done
# to; None: no single one), `details` (what else is worth keeping).
acted = Signal()


def report(action: str, target: Model | None = None, **details: Any) -> None:
    """Tell who keeps the record of acts."""
    acted.send(sender=None, action=action, target=target, details=details)
