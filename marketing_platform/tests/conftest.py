"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import logging
from io import StringIO

import pytest


@pytest.fixture
def written():
    """What our log handler writes from here on."""
    root = logging.getLogger()
    handler = next(each for each in root.handlers if each.name == "stderr")
    stream = StringIO()
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before)
