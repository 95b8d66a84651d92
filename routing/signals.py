"""News that travels up the house: routing tells, messaging listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from django.db.models import Model

# Sent within the transaction that stores a receipt, once for each receipt of a known
# message. Arguments: `receipt` (DeliveryReceipt), `opted_out` and `complained` (bool),
# `is_sum_of_parts` (whether it is what all receipts of parts come to),
# `resumes_at` (datetime from which its carrier takes messages again, None: at all
# times), `now` (datetime).
receipt_recorded = Signal()

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
