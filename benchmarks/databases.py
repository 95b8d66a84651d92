"""Scratch databases: each benchmark gets a fresh one, migrated, with default routes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import psycopg

from marketing_platform.testing.embedded_postgres import running_server

TEMPLATE = "benchmark_template"
# As in production on this machine: durable, and with room for the data.
SERVER_OPTIONS = (
    *("-c", "fsync=on", "-c", "full_page_writes=on"),
    *("-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB"),
    *("-c", "checkpoint_timeout=30min"),
)


class Databases:
    """Creates fresh databases of one kind, and drops them."""

    def fresh(self, name: str) -> str:
        """Create a database; returns its URL."""
        raise NotImplementedError

    def drop(self, name: str) -> None:
        """Drop the database."""
        raise NotImplementedError


class Postgres(Databases):
    """Databases on one server, copied from a template."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        _migrate(self._url_of(TEMPLATE))

    def fresh(self, name: str) -> str:
        self.drop(name)
        self._execute(f"CREATE DATABASE benchmark_{name} TEMPLATE {TEMPLATE}")
        return self._url_of(f"benchmark_{name}")

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS benchmark_{name} WITH (FORCE)")

    def close(self) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


class Sqlite(Databases):
    """Files, copied from a template."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        _migrate(f"sqlite:///{directory / TEMPLATE}")

    def fresh(self, name: str) -> str:
        shutil.copy(self._directory / TEMPLATE, self._directory / name)
        return f"sqlite:///{self._directory / name}"

    def drop(self, name: str) -> None:
        for path in self._directory.glob(f"{name}*"):
            path.unlink()


@contextmanager
def open_databases(kinds: set[str]) -> Iterator[dict[str, Databases]]:
    """The databases of these kinds: "postgresql", "sqlite" or both."""
    opened: dict[str, Databases] = {}
    with TemporaryDirectory(prefix="bench-") as directory:
        if "sqlite" in kinds:
            opened["sqlite"] = Sqlite(Path(directory))
        if "postgresql" not in kinds:
            yield opened
            return
        with _server_url() as url:
            postgres = opened["postgresql"] = Postgres(url)
            try:
                yield opened
            finally:
                postgres.close()


@contextmanager
def _server_url() -> Iterator[str]:
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with running_server(options=SERVER_OPTIONS) as server:
        yield server.url


def environment_of(url: str) -> dict[str, str]:
    """The environment of a process that uses this database."""
    return {
        **os.environ,
        "DATABASE_URL": url,
        "DATABASE_URL_FILE": "",
        "LOG_LEVEL": "WARNING",
    }


def _migrate(url: str) -> None:
    for command in (("migrate", "--noinput"), ("loaddata", "default_routes")):
        subprocess.run(
            [sys.executable, "manage.py", *command],
            env=environment_of(url),
            stdout=subprocess.DEVNULL,
            check=True,
        )
