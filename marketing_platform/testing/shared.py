"""Optional test data that the project does not ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(
    os.environ.get("SHARED_DATA_DIR", Path(__file__).resolve().parents[3] / "shared")
)


def shared_file(name: str) -> Path:
    """The file of this name; skips the test if it is missing."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{path} not found; set SHARED_DATA_DIR to its folder")
    return path
