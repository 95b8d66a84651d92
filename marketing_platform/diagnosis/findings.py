"""Findings of checks, and how checks are run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import DatabaseError, InterfaceError

logger = logging.getLogger(__name__)


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"  # messages are sent, but it needs attention
    FAIL = "fail"  # messages are not sent, or not as they should be


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, in a sentence, and what to do about it."""

    level: Level
    text: str
    remedy: str = ""
    is_final: bool = False  # whether further checks are pointless


# A check examines one thing and returns its finding; it gets the database's time.
Check = Callable[[datetime], Finding]


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, text)


def warn(text: str, remedy: str) -> Finding:
    """Messages are sent, but it needs attention."""
    return Finding(Level.WARN, text, remedy)


def fail(text: str, remedy: str, *, is_final: bool = False) -> Finding:
    """Messages are not sent, or not as they should be."""
    return Finding(Level.FAIL, text, remedy, is_final)


def examine(
    checks: Mapping[str, Check], *, clock: Callable[[], datetime]
) -> dict[str, Finding]:
    """Run the checks in order, until one makes further ones pointless."""
    findings: dict[str, Finding] = {}
    for name, check in checks.items():
        findings[name] = _made(check, clock)
        if findings[name].is_final:
            break
    return findings


def _made(check: Check, clock: Callable[[], datetime]) -> Finding:
    try:
        return check(clock())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("The database failed a check: %s", error)
        return fail(
            "The database does not answer properly.",
            "See the error in the log; check DATABASE_URL and the server.",
            is_final=True,
        )


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst finding."""
    levels = {finding.level for finding in findings}
    return next((each for each in (Level.FAIL, Level.WARN) if each in levels), Level.OK)


def span(duration: timedelta) -> str:
    """A duration as people write it: 90 s, 5 min, 3 h, 4 days."""
    seconds = max(0.0, duration.total_seconds())
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
