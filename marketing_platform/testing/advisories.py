"""`make audit`: checks the pinned requirements for known advisories.

pip-audit reports success even if its index knows none of the packages: a mirror without
advisories would look clean. So packages that were not checked are listed, and an audit
that could check nothing says that it was skipped, and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple


class Verdict(NamedTuple):
    """The result of an audit, and the exit status of the command."""

    text: str
    status: int


def audit(program: str, requirements: str) -> Verdict:
    """Run pip-audit, which reads PyPI's advisories."""
    options = ["--disable-pip", "--progress-spinner=off", "--format=json"]
    done = subprocess.run(
        [program, "--requirement", requirements, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return judge(done.stdout, done.stderr)


def judge(answer: str, errors: str) -> Verdict:
    """The verdict on pip-audit's output."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["no output"])[-1]
        return Verdict(f"Skipped: advisories are out of reach here ({last[:200]}).", 0)
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if len(skipped) == len(packages):
        return Verdict("Skipped: this index has no advisories for any package.", 0)
    found = [each for each in packages if each.get("vulns")]
    lines = [_line(each) for each in found]
    lines.append(f"{len(packages) - len(skipped)} packages checked, {len(found)} bad.")
    if skipped:
        lines.append(f"Not checked: {', '.join(skipped)}.")
    return Verdict("\n".join(lines), int(bool(found)))


def _line(package: dict[str, object]) -> str:
    ids = ", ".join(str(each["id"]) for each in package["vulns"])  # type: ignore[attr-defined]
    return f"{package['name']} {package['version']}: {ids}"


if __name__ == "__main__":
    verdict = audit(*sys.argv[1:3])
    print(verdict.text)  # noqa: T201 - the output of `make audit`
    sys.exit(verdict.status)
