"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import logging
import os
from io import StringIO
from urllib.parse import urlsplit

import psycopg
import pytest


@pytest.fixture
def database(tmp_path):
    """The URL of an empty database of the kind that the suite runs on."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield f"sqlite:///{tmp_path}/demo.sqlite3"
        return
    name = f"demo_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def written():
    """What our log handler writes from now on."""
    root = logging.getLogger()
    handler = next(each for each in root.handlers if each.name == "stderr")
    stream = StringIO()
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before)
