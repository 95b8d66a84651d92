"""`make audit`: whether advisories are known about what the requirements pin.

pip-audit calls it success when its index knows none of the packages: a mirror without
advisories would look like a clean bill. So what was not looked at is told, and an audit
that could look at nothing says that it was skipped, and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple


class Verdict(NamedTuple):
    """What an audit came to, and with which status the command ends."""

    text: str
    status: int


def audit(program: str, requirements: str) -> Verdict:
    """Ask pip-audit, which asks the advisories of PyPI."""
    options = ["--disable-pip", "--progress-spinner=off", "--format=json"]
    done = subprocess.run(
        [program, "--requirement", requirements, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return judge(done.stdout, done.stderr)


def judge(answer: str, errors: str) -> Verdict:
    """What pip-audit found."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        return Verdict(f"Skipped: no advisories can be reached here ({last[:200]}).", 0)
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if len(skipped) == len(packages):
        return Verdict("Skipped: this index has no advisories for any package.", 0)
    found = [each for each in packages if each.get("vulns")]
    lines = [_line(each) for each in found]
    lines.append(
        f"{len(packages) - len(skipped)} packages looked at, {len(found)} bad."
    )
    if skipped:
        lines.append(f"Not looked at: {', '.join(skipped)}.")
    return Verdict("\n".join(lines), int(bool(found)))


def _line(package: dict[str, object]) -> str:
    ids = ", ".join(str(each["id"]) for each in package["vulns"])  # type: ignore[attr-defined]
    return f"{package['name']} {package['version']}: {ids}"


if __name__ == "__main__":
    verdict = audit(*sys.argv[1:3])
    print(verdict.text)  # noqa: T201 - for who runs `make audit`
    sys.exit(verdict.status)
