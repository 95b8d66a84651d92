"""manage.py doctor: what is wrong here, and what to do about it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from marketing_platform.diagnosis.checks import CHECKS
from marketing_platform.diagnosis.findings import Finding, Level, examine, worst
from messaging.queue.coordination import database_now
from routing.terminal import PlainCommand

EXIT_STATUS = {Level.OK: 0, Level.FAIL: 1, Level.WARN: 3}


class Command(PlainCommand):
    help = (
        "Check whether messages can be accepted and sent, and say what to do if not. "
        "Exit status 0 if all is well, 3 if there are only warnings, 1 if something "
        "fails."
    )
    requires_migrations_checks = False
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = examine(CHECKS, clock=database_now)
        level = worst(findings.values())
        self.stdout.write(
            _as_json(findings, level) if options["json"] else _as_text(findings)
        )
        if level != Level.OK:
            raise SystemExit(EXIT_STATUS[level])


def _as_json(findings: Mapping[str, Finding], level: Level) -> str:
    checks = [{"check": name} | asdict(each) for name, each in findings.items()]
    return json.dumps({"level": level, "findings": checks}, indent=2)


def _as_text(findings: Mapping[str, Finding]) -> str:
    lines = []
    for name, finding in findings.items():
        lines.append(f"{finding.level:4}  {name.replace('_', ' ')}: {finding.text}")
        if finding.remedy:
            lines.append(f"      -> {finding.remedy}")
    return "\n".join(lines)
