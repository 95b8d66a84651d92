"""All checks, in the order in which they run."""

from __future__ import annotations

from marketing_platform.diagnosis.delivery import DELIVERY
from marketing_platform.diagnosis.doors import DOORS
from marketing_platform.diagnosis.installation import ROUTES, SETTINGS
from marketing_platform.diagnosis.readiness import READINESS
from marketing_platform.diagnosis.receipts import RECEIPTS

CHECKS = READINESS | SETTINGS | ROUTES | RECEIPTS | DELIVERY | DOORS
