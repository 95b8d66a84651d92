"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import os
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
