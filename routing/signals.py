"""Events sent up the layers: routing sends them, messaging listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from django.db.models import Model

# Sent when the receipts of a call are stored, before the call is answered. Arguments:
# `provider` (its name), `urgent` (ids of the events in which a recipient opts out or
# complains: they must take effect before the answer), `now` (datetime).
receipts_stored = Signal()

# Sent within the transaction that stores a message from a handset, once per message.
# Arguments: `inbound` (InboundMessage).
inbound_recorded = Signal()

# Sent for every deliberate act of a person or a program, within its transaction, by the
# service that performs it. Arguments: `action` (a verb), `target` (the row it was done
# to; None: no single one), `details` (anything else worth keeping).
acted = Signal()


def report(action: str, target: Model | None = None, **details: Any) -> None:
    """Send `acted`, for the audit log."""
    acted.send(sender=None, action=action, target=target, details=details)
