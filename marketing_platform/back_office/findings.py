"""What needs attention: the doctor's findings, and on the first day the first steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from marketing_platform.back_office.links import behind_finding, listed
from marketing_platform.diagnosis.checks import CHECKS
from marketing_platform.diagnosis.findings import Finding, Level, examine, worst
from messaging.models import Campaign
from routing.models import MessageDeliveryAttempt

# A check that fails until the step is done, and the step.
STEPS = {
    "routes": "Choose the providers to send by",
    "workers": "Start a worker",
}
SEND_A_CAMPAIGN = (
    "`python manage.py send_campaign --channel sms --name ... --recipients people.csv "
    "--body ...`, or over the API: docs/api.md."
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding that needs attention, and a link to its list."""

    level: Level
    text: SafeString
    remedy: SafeString
    href: str


@dataclass(frozen=True, slots=True)
class FirstStep:
    """A step to take before anything can be sent."""

    title: str
    is_done: bool
    how: SafeString
    href: str


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of all checks, the worst first."""

    level: Level
    problems: list[Problem]
    well: int  # checks that found no problem
    first_steps: list[FirstStep]  # none once something was sent


def with_commands(text: str) -> SafeString:
    """The text as HTML, with text between `backticks` formatted as a command."""
    parts = text.split("`")
    parts[1::2] = [format_html("<code>{}</code>", command) for command in parts[1::2]]
    return format_html_join("", "{}", ((part,) for part in parts))


def findings(*, clock: Callable[[], datetime]) -> Findings:
    """Run all checks."""
    found = examine(CHECKS, clock=clock)
    steps = _first_steps(found)
    told_by_steps = STEPS.keys() if steps else set()
    problems = [
        _problem(each, behind_finding(check))
        for check, each in found.items()
        if each.level != Level.OK and check not in told_by_steps
    ]
    return Findings(
        level=worst(found.values()),
        problems=sorted(problems, key=lambda each: each.level != Level.FAIL),
        well=sum(each.level == Level.OK for each in found.values()),
        first_steps=steps,
    )


def _problem(finding: Finding, href: str) -> Problem:
    text, remedy = with_commands(finding.text), with_commands(finding.remedy)
    return Problem(finding.level, text, remedy, href)


def _first_steps(found: Mapping[str, Finding]) -> list[FirstStep]:
    """None if something was sent already, or if some check could not run."""
    if not found.keys() >= STEPS.keys() or MessageDeliveryAttempt.objects.exists():
        return []
    last = FirstStep(
        "Send a campaign",
        Campaign.objects.visible().exists(),
        with_commands(SEND_A_CAMPAIGN),
        listed("messaging_campaign"),
    )
    return [
        *(_step(title, check, found[check]) for check, title in STEPS.items()),
        last,
    ]


def _step(title: str, check: str, finding: Finding) -> FirstStep:
    """A step that is done once the check does not fail."""
    is_done = finding.level != Level.FAIL
    how = finding.text if is_done else f"{finding.text} {finding.remedy}"
    return FirstStep(title, is_done, with_commands(how), behind_finding(check))
