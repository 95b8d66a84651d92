"""News that travels up the house: routing tells, messaging listens."""

from django.dispatch import Signal

# Sent within the transaction that stores a receipt, once for each receipt of a known
# message. Arguments: `receipt` (DeliveryReceipt), `opted_out` and `complained` (bool),
# `resumes_at` (datetime from which its carrier takes messages again, None: at all
# times), `now` (datetime).
receipt_recorded = Signal()

# Sent within the transaction that stores a message of a handset, once for each.
# Arguments: `inbound` (InboundMessage).
inbound_recorded = Signal()
