"""The databases under fault, read and changed past the engine: with plain SQL."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg

Row = tuple[Any, ...]


class Database(Protocol):
    """One database that can be brought back to the state in which it was kept."""

    url: str

    def url_at(self, host: str) -> str:
        """The URL for those who reach the database at this address."""

    def rows(self, query: str) -> list[Row]:
        """What the query finds."""

    def execute(self, statement: str) -> None:
        """Run one statement, and commit."""

    def snapshot(self) -> None:
        """Remember the state of now."""

    def restore(self) -> None:
        """Go back to it; whoever is connected notices at the next statement."""


class SQLiteFile:
    """A file, whose kept state is another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._kept = path.with_suffix(".kept")

    def url_at(self, host: str) -> str:
        raise NotImplementedError("A file is reached from its own host only.")

    def rows(self, query: str) -> list[Row]:
        with closing(_connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with closing(_connect(self.path)) as connection, connection:
            connection.execute(statement)

    def snapshot(self) -> None:
        _copy(self.path, self._kept)

    def restore(self) -> None:
        _copy(self._kept, self.path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    # Constraints of ours use it, and an integrity check runs them.
    connection.create_function("REGEXP", 2, _matches)
    return connection


def _matches(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None


def _copy(source: Path, target: Path) -> None:
    """As one transaction, so that nobody has a file exchanged under his hands."""
    with closing(_connect(source)) as kept, closing(_connect(target)) as current:
        kept.backup(current)


class PostgresDatabase:
    """A database on a server of PostgreSQL, whose kept state is a template."""

    def __init__(self, server_url: str, name: str) -> None:
        self.url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        self._server_url = server_url
        self._name = name
        self._on_server(f"CREATE DATABASE {name}")

    def url_at(self, host: str) -> str:
        parts = urlsplit(self.url)
        options = [(k, v) for k, v in parse_qsl(parts.query) if k != "host"]
        netloc = f"{parts.username}@{host}:{parts.port}"
        query = urlencode(options, quote_via=quote)
        return parts._replace(netloc=netloc, query=query).geturl()

    def rows(self, query: str) -> list[Row]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def snapshot(self) -> None:
        self._on_server(f"CREATE DATABASE {self._name}_kept TEMPLATE {self._name}")

    def restore(self) -> None:
        self.drop()
        self._on_server(f"CREATE DATABASE {self._name} TEMPLATE {self._name}_kept")

    def drop(self) -> None:
        """Throw it away, and whoever is connected out."""
        self._on_server(f"DROP DATABASE {self._name} WITH (FORCE)")

    def terminate_connections(self) -> None:
        """Cut everybody's connection."""
        self._on_server(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self._name}'"
        )

    def _on_server(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement)
