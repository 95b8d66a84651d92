"""News that travels up the house: routing tells, messaging listens."""

from django.dispatch import Signal

# Sent within the transaction that stores a receipt, once for each receipt of a known
# message. Arguments: `receipt` (DeliveryReceipt), `opted_out` (bool), `now` (datetime).
receipt_recorded = Signal()
