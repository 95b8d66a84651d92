"""All checks, in the order in which they are made."""

from __future__ import annotations

from marketing_platform.diagnosis.delivery import DELIVERY
from marketing_platform.diagnosis.doors import DOORS
from marketing_platform.diagnosis.installation import ROUTES, SETTINGS
from marketing_platform.diagnosis.readiness import READINESS

CHECKS = READINESS | SETTINGS | ROUTES | DELIVERY | DOORS | DOORS
