"""Databases for single tests: copied, and read without the engine."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

Row = tuple[Any, ...]


class Database(Protocol):
    """A database that can be copied, and restored to a saved state."""

    url: str

    def url_at(self, host: str) -> str:
        """The URL for hosts that reach the database at this address."""

    def rows(self, query: str) -> list[Row]:
        """The rows of a query."""

    def execute(self, statement: str) -> None:
        """Run one statement, and commit."""

    def snapshot(self) -> None:
        """Save the current state."""

    def restore(self) -> None:
        """Restore the saved state; open connections fail at their next statement."""

    def copy(self, name: str) -> Database:
        """Another database with the same content. There must be no connections."""

    def drop(self) -> None:
        """Delete it, and close all connections."""


def copy_for_processes(connection: BaseDatabaseWrapper, directory: Path) -> Database:
    """A copy of Django's database that other processes can open.

    The tests' own may be in memory. The connection is closed if necessary.
    """
    if connection.vendor == "sqlite":
        copy = SQLiteFile(directory / "migrated.sqlite3")
        connection.ensure_connection()
        copy.fill_from(connection.connection)
        return copy
    connection.close()
    name = str(connection.settings_dict["NAME"])
    return PostgresDatabase(
        os.environ["DATABASE_URL"], f"{name}_migrated", template=name
    )


class SQLiteFile:
    """An SQLite file; its saved state is another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._kept = path.with_suffix(".kept")

    def url_at(self, host: str) -> str:
        raise NotImplementedError("A file can be used only on its own host.")

    def rows(self, query: str) -> list[Row]:
        with closing(_connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with closing(_connect(self.path)) as connection, connection:
            connection.execute(statement)

    def snapshot(self) -> None:
        with closing(_connect(self.path)) as source:
            SQLiteFile(self._kept).fill_from(source)

    def restore(self) -> None:
        with closing(_connect(self._kept)) as source:
            self.fill_from(source)

    def copy(self, name: str) -> SQLiteFile:
        path = self.path.with_name(f"{name}.sqlite3")
        return SQLiteFile(Path(shutil.copy(self.path, path)))

    def drop(self) -> None:
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()

    def fill_from(self, source: sqlite3.Connection) -> None:
        """Copy everything from another database.

        In one transaction, so that the file is not replaced under open connections.
        """
        with closing(_connect(self.path)) as connection:
            source.backup(connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    # Our constraints use it, and an integrity check runs them.
    connection.create_function("REGEXP", 2, _matches)
    return connection


def _matches(pattern: str, text: str | None) -> bool:
    return text is not None and re.search(pattern, text) is not None


class PostgresDatabase:
    """A new database on a PostgreSQL server; its saved state is a template."""

    def __init__(self, server_url: str, name: str, *, template: str = "") -> None:
        self.url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        self._server_url = server_url
        self._name = name
        self.drop()
        self._create(name, template or "template1")

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
        self._create(f"{self._name}_kept", self._name)

    def restore(self) -> None:
        self.drop()
        self._create(self._name, f"{self._name}_kept")

    def copy(self, name: str) -> PostgresDatabase:
        return PostgresDatabase(
            self._server_url, f"{self._name}_{name}", template=self._name
        )

    def drop(self) -> None:
        self._on_server(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    def terminate_connections(self) -> None:
        """Close all connections."""
        self._on_server(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self._name}'"
        )

    def _create(self, name: str, template: str) -> None:
        self._on_server(f"CREATE DATABASE {name} TEMPLATE {template}")

    def _on_server(self, statement: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement)
