"""System checks of the installation as a whole, for `check --deploy`."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from marketing_platform.diagnosis.receipts_setup import setup_problems


@register(deploy=True)
def check_receipts(**_: Any) -> list[CheckMessage]:
    """E001: no receipt can arrive, or be accepted."""
    return [
        Error(text, hint=remedy, id="marketing_platform.E001")
        for text, remedy in setup_problems()
    ]
