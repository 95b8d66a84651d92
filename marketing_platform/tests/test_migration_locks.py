"""A migration that has to wait for a lock does not block other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing

import psycopg
import pytest
from django.core.management import get_commands
from django.db import OperationalError, connection, transaction

from marketing_platform.migration_locks import LockedOut, LockPatience
from marketing_platform.testing.installation import MANAGE, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no queue"),
]


def connect(name=None):
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password")
    return psycopg.connect(
        dbname=name or parameters["dbname"],
        autocommit=True,
        **{each: parameters[each] for each in names if parameters.get(each)},
    )


@pytest.fixture
def table():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE work (id int)")
        yield "work"
        cursor.execute("DROP TABLE work")


class Reader:
    """A reader whose transaction stays open, such as `pg_dump`."""

    def __init__(self, table, database=None):
        self.connection = connect(database)
        self.connection.execute(f"BEGIN; SELECT count(*) FROM {table}")

    def leave_after(self, seconds):
        threading.Timer(seconds, self.connection.close).start()
        return self


class Writer(threading.Thread):
    """A writer, and how long it had to wait at most."""

    def __init__(self, statement, database=None):
        super().__init__()
        self.statement, self.database = statement, database
        self.longest, self.done, self.stop = 0.0, 0, threading.Event()

    def run(self):
        with closing(connect(self.database)) as own:
            while not self.stop.wait(0.02):
                start = time.monotonic()
                own.execute(self.statement)
                self.longest = max(self.longest, time.monotonic() - start)
                self.done += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


def patience(said, seconds=60.0):
    return LockPatience(
        connection,
        say=said.append,
        seconds=seconds,
        lock_seconds=0.3,
        pauses=(0.3, 0.4),
    )


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_a_statement_is_tried_again_until_the_reader_has_left(table):
    said = []
    Reader(table).leave_after(3)
    writer = Writer(f"INSERT INTO {table} VALUES (1)")
    with writer, patience(said).bounded():
        execute(f"ALTER TABLE {table} ADD COLUMN more int")

    assert writer.longest < 2
    assert writer.done > 20
    assert "idle in transaction" in said[-1]


def test_a_transaction_is_not_tried_again_in_the_midst(table):
    reader = Reader(table)
    with pytest.raises(OperationalError), patience([]).bounded(), transaction.atomic():
        execute(f"ALTER TABLE {table} ADD COLUMN more int")
    reader.connection.close()


def test_the_timeout_ends_with_the_migrations(table):
    with patience([]).bounded():
        pass
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


def test_it_gives_up_in_the_end_and_says_who_is_in_the_way(table):
    reader = Reader(table)
    time.sleep(1)
    who = r"process \d+ .*idle in transaction"
    with pytest.raises(LockedOut, match=who), patience([], 0.5).bounded():
        execute(f"ALTER TABLE {table} ADD COLUMN more int")
    reader.connection.close()


def test_an_index_may_wait_for_a_reader_as_it_stops_nobody(table):
    Reader(table).leave_after(2)
    writer = Writer(f"INSERT INTO {table} VALUES (1)")
    with writer, patience([]).bounded():
        execute(f"CREATE INDEX CONCURRENTLY work_id ON {table} (id)")

    assert writer.longest < 1


def test_what_is_left_of_an_interrupted_build_is_built_anew(table):
    execute(f"INSERT INTO {table} VALUES (1), (1)")
    build = f'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "work_id" ON {table} (id)'
    said = []
    with pytest.raises(Exception, match="could not create unique index"):
        execute(build)
    execute(f"DELETE FROM {table}")

    with patience(said).bounded():
        execute(build)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'work_id'::regclass"
        )
        assert cursor.fetchone() == (True,)
    assert said == ["The index work_id is unfinished and will be rebuilt."]


def test_every_migration_is_made_by_this_command():
    assert get_commands()["migrate"] == "marketing_platform"


@pytest.fixture
def database():
    """The name of an empty database."""
    name = f"{connection.settings_dict['NAME']}_locks"
    with closing(connect()) as own:
        own.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        own.execute(f'CREATE DATABASE "{name}"')
        yield name
        own.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def migrate(database, tmp_path):
    """Starts `migrate` on it; `said()` is its output so far."""
    url, _, options = os.environ["DATABASE_URL"].partition("?")
    url = f"{url.rpartition('/')[0]}/{database}" + f"?{options}" * bool(options)
    log = tmp_path / "migrate.log"

    def start(*arguments):
        command = [sys.executable, MANAGE, "migrate", "-v0", *arguments]
        environment = {**os.environ, "DATABASE_URL": url, "LOG_LEVEL": "ERROR"}
        with log.open("a") as output:
            return subprocess.Popen(command, env=environment, stderr=output)

    start.said = log.read_text
    return start


def test_writers_go_on_while_migrate_waits_for_a_reader(database, migrate):
    assert migrate("messaging", "0013").wait() == 0
    reader = Reader("messaging_campaignmessage", database)
    write = "UPDATE messaging_campaignmessage SET segments = segments WHERE id = 1"
    with Writer(write, database) as writer:
        migrating = migrate("messaging", "0014")
        wait_until(lambda: "Waiting for a lock" in migrate.said())
        before = writer.done
        wait_until(lambda: writer.done > before + 20)
        reader.connection.close()
        assert migrating.wait(60) == 0

    assert writer.longest < 4
