"""Data that tests read when it is there, and that the project does not ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(
    os.environ.get("SHARED_DATA_DIR", Path(__file__).resolve().parents[3] / "shared")
)


def shared_file(name: str) -> Path:
    """The file of this name; skips the test, and says why, where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{path} is not here; SHARED_DATA_DIR names its folder")
    return path
