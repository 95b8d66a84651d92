"""Processes and their children, from Linux's /proc."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of a process, oldest first."""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                found[int(each.name)] = _parent_and_start(each)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
    ours = [each for each, (parent, _) in found.items() if parent == pid]
    return sorted(ours, key=lambda each: (found[each][1], each))


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    below = children(pid)
    for child in below:
        below.extend(children(child))
    return below


def is_running(pid: int) -> bool:
    """Whether it is alive; a zombie is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _parent_and_start(process: Path) -> tuple[int, int]:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])
