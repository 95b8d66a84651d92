"""A database that restarts, crashes, is down, cuts connections, or has a full disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from marketing_platform.testing.databases import SQLiteFile
from marketing_platform.testing.faults.environment import Environment
from marketing_platform.testing.faults.scenario import Scenario

MESSAGES = 300


@pytest.fixture
def busy_scenario(make_scenario):
    """Two workers that are sending."""
    scenario = make_scenario(count=MESSAGES)
    scenario.simulator.configure(latency=0.2)
    scenario.start(2)
    scenario.wait_for_accepted(20)
    return scenario


@pytest.fixture
def server(database_kind, request):
    """The PostgreSQL server; SQLite has none."""
    if database_kind != "postgresql":
        pytest.skip("SQLite has no server that could go away")
    return request.getfixturevalue("postgres_server")


def assert_all_sent(verdict):
    assert verdict.is_clean
    assert verdict.recovered + verdict.flagged == verdict.unknown
    assert verdict.accepted + verdict.flagged >= MESSAGES


def come_to_rest(scenario, put_on_record):
    """Recover, record the figures, and check that all messages were sent."""
    recovery = scenario.recover()
    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert_all_sent(verdict)


@pytest.mark.faults(
    row="9",
    done="PostgreSQL is restarted, closing all connections",
    holds="workers reconnect and write what they could not; none ends",
)
def test_a_restart(server, busy_scenario, put_on_record):
    server.stop()
    server.start()

    come_to_rest(busy_scenario, put_on_record)
    assert all(worker.is_running for worker in busy_scenario.environment.workers)


@pytest.mark.faults(
    row="9b",
    done="PostgreSQL crashes and is started again",
    holds="as 9",
)
def test_a_crash_of_the_server(server, busy_scenario, put_on_record):
    server.stop(is_crash=True)
    server.start()

    come_to_rest(busy_scenario, put_on_record)


@pytest.mark.faults(
    row="9c",
    done="PostgreSQL is down for 10 s",
    holds="as 9; results from that time are written when it is back",
)
def test_an_absence_of_the_server(server, busy_scenario, put_on_record):
    server.stop()
    time.sleep(10)
    server.start()

    come_to_rest(busy_scenario, put_on_record)
    assert all(worker.is_running for worker in busy_scenario.environment.workers)


@pytest.mark.faults(
    row="10",
    done="all connections are cut, five times, during transactions",
    holds="as 9; what may have been written already is not written twice",
)
def test_cut_connections(server, busy_scenario, put_on_record):
    for _ in range(5):
        busy_scenario.database.terminate_connections()
        time.sleep(0.3)

    come_to_rest(busy_scenario, put_on_record)


# Cuts the connection that runs it, at every nth call.
STRIKE = """
CREATE SEQUENCE passing;
CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('passing') %% %s = 0 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$;
CREATE %s ON messaging_campaignmessage %s EXECUTE FUNCTION strike()
"""
STRIKES = {
    "statement": STRIKE % (9, "TRIGGER strike AFTER UPDATE", "FOR EACH STATEMENT"),
    "commit": STRIKE
    % (
        113,
        "CONSTRAINT TRIGGER strike AFTER UPDATE",
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
    ),
}


@pytest.mark.faults(
    row="10b",
    done="the connection is cut at every ninth statement that changes messages, or "
    "commit",
    holds="as 9; claims and results are written whole, or again",
)
@pytest.mark.parametrize("point", STRIKES)
def test_cut_within(server, make_scenario, put_on_record, point):
    scenario = make_scenario(count=MESSAGES)
    scenario.simulator.configure(latency=0.1)
    scenario.database.execute(STRIKES[point])
    scenario.start(2)
    scenario.wait_for_accepted(MESSAGES // 2)
    scenario.database.execute("DROP FUNCTION strike CASCADE")

    come_to_rest(scenario, put_on_record)
    assert all(worker.is_running for worker in scenario.environment.workers)


@pytest.mark.faults(
    row="10c",
    done="columns that prepared statements read and write change their types",
    holds="as 9: statements are planned again",
)
def test_columns_that_change(server, busy_scenario, put_on_record):
    for column, kind in (("recipient", "varchar(300)"), ("attempt_count", "integer")):
        busy_scenario.database.execute(
            f"ALTER TABLE messaging_campaignmessage ALTER {column} TYPE {kind}"
        )
        busy_scenario.wait_for_accepted(len(busy_scenario.accepted()) + 20)

    come_to_rest(busy_scenario, put_on_record)
    assert all(worker.is_running for worker in busy_scenario.environment.workers)


@pytest.mark.faults(
    row="12",
    done="a worker freezes with its transaction open, as if its host were cut off",
    holds="the server rolls it back in time; the others send what it had locked",
)
@pytest.mark.parametrize("point", ["before_claim_commit", "before_record_commit"])
def test_frozen_in_a_transaction(server, make_scenario, put_on_record, point):
    scenario = make_scenario(count=60)

    (frozen,) = scenario.start(crash=point, ending="SIGSTOP")
    scenario.wait_for_freeze(frozen)
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert verdict.accepted + verdict.flagged >= 60


@pytest.mark.faults(
    row="26",
    done="SQLite: both workers are killed while writing, three times",
    holds="the file is intact; as 3",
)
def test_killed_in_the_midst_of_writing(database_kind, busy_scenario, put_on_record):
    if database_kind != "sqlite":
        pytest.skip("PostgreSQL writes its files itself: see 9b")
    for _ in range(3):
        for worker in busy_scenario.environment.workers:
            worker.signal(signal.SIGKILL)
        before = len(busy_scenario.accepted())
        busy_scenario.start(2)
        busy_scenario.wait_for_accepted(before + 20)
    recovery = busy_scenario.recover()

    verdict = busy_scenario.verdict()
    put_on_record(verdict, recovery, kills=6)
    assert busy_scenario.database.rows("PRAGMA integrity_check") == [("ok",)]
    assert_all_sent(verdict)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("a file system of its own needs root and mount(8)")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextlib.contextmanager
def filled(disk: Path):
    """Fill the disk completely."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    yield
    ballast.unlink()


@pytest.mark.faults(
    row="25",
    done="SQLite: the disk is full for 4 s while sending",
    holds="nothing is corrupted; workers wait, and then write what they could not",
)
def test_a_full_disk(small_disk, database_kind, simulator_process, put_on_record):
    if database_kind != "sqlite":
        pytest.skip("the disk of PostgreSQL is its server's responsibility")
    database = SQLiteFile(small_disk / "faults.sqlite3")
    environment = Environment(
        small_disk, database=database, simulators=simulator_process, messages=MESSAGES
    )
    with environment.open():
        scenario = Scenario(environment, count=MESSAGES)
        scenario.simulator.configure(latency=0.2)
        scenario.start(2)
        scenario.wait_for_accepted(20)
        with filled(small_disk):
            time.sleep(4)
        recovery = scenario.recover()
        verdict = scenario.verdict()
        environment.end()

    put_on_record(verdict, recovery)
    assert database.rows("PRAGMA integrity_check") == [("ok",)]
    assert_all_sent(verdict)
