"""The installed packages are the locked ones, and an audit lists what it skipped."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from django.conf import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from marketing_platform.testing.advisories import judge

ROOT = Path(settings.BASE_DIR)
FILES = ["requirements.txt", "requirements-dev.txt"]


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_its_hashes_and_names_no_index(name):
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^ *#.*\n", "", text))

    bare = [
        entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry
    ]

    assert not bare, f"Run `make lock`: {bare} have no hash."
    assert not re.search(r"index-url|find-links|file://|https?://", text)


def needs_of(name):
    """The packages that an installed one requires here; none if it is not installed."""
    try:
        needs = map(Requirement, requires(name) or [])
    except PackageNotFoundError:  # locked for another platform
        return set()
    here = {"extra": ""}
    return {
        canonicalize_name(need.name)
        for need in needs
        if need.marker is None or need.marker.evaluate(here)
    }


@pytest.mark.parametrize("name", FILES)
def test_the_lock_is_whole_so_that_pip_may_install_it_without_resolving(name):
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / name).read_text()))

    needed = set().union(*map(needs_of, locked))

    assert "django" in locked
    assert "sqlparse" in needed
    assert not needed - locked, "Run `make lock`."


def answer(*packages):
    return json.dumps({"dependencies": [*packages]})


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}]}
UNKNOWN = {"name": "c", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("found", "status", "says"),
    [
        (answer(GOOD), 0, "1 packages checked, 0 bad."),
        (answer(GOOD, BAD), 1, "b 2: PYSEC-1"),
        (answer(GOOD, UNKNOWN), 0, "Not checked: c."),
        (answer(UNKNOWN), 0, "Skipped: this index has no advisories"),
        ("", 0, "Skipped: advisories are out of reach here (no route to host)."),
        ("[]", 0, "Skipped: "),
    ],
)
def test_an_audit_tells_what_it_did_not_look_at(found, status, says):
    verdict = judge(found, "trace\nno route to host\n")

    assert verdict.status == status
    assert says in verdict.text
