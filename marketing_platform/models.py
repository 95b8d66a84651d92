"""The models of this app, where Django looks for them."""

from marketing_platform.audit.models import AuditEvent
from marketing_platform.log_ins.models import LogInThrottle
from marketing_platform.tokens.models import ApiToken

__all__ = ["ApiToken", "AuditEvent", "LogInThrottle"]
