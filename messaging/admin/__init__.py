"""The back office of messaging."""

from messaging.admin.jobs import JobAdmin
from messaging.admin.tables import MessageAdmin

__all__ = ["JobAdmin", "MessageAdmin"]
