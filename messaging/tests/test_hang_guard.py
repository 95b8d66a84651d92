"""Workers that the database does not answer any more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection

from marketing_platform.testing.installation import MANAGE, wait_until
from messaging.models import WorkerHeartbeat
from messaging.queue import hang_guard
from messaging.queue.hang_guard import EXIT_STATUS, HangGuard, StatementLimit

SOON = timedelta(milliseconds=40)
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no server"
)


@pytest.fixture
def ended(monkeypatch):
    """Set when the guard ends the process."""
    monkeypatch.setattr(hang_guard, "LOOK_EVERY", timedelta(milliseconds=10))
    return threading.Event()


def test_a_process_that_hangs_is_ended(ended):
    HangGuard(SOON, end=ended.set).start()

    assert ended.wait(5)


def test_a_process_that_goes_on_is_left_alone(ended):
    guard = HangGuard(SOON, end=ended.set)
    guard.start()

    for _ in range(20):
        guard.beat()
        assert not ended.wait(0.01)
    guard.stop()

    assert not ended.wait(0.1)


def test_a_process_that_was_told_to_end_has_less_time(ended, monkeypatch):
    monkeypatch.setattr(hang_guard, "AFTER_STOP", SOON)
    guard = HangGuard(timedelta(hours=1), end=ended.set)
    guard.start()

    guard.hurry()

    assert ended.wait(5)


def test_without_patience_nothing_is_watched(ended):
    HangGuard(timedelta(0), end=ended.set).start()

    assert not ended.wait(0.1)


def statement_timeout():
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return cursor.fetchone()[0]


@on_postgresql
@pytest.mark.django_db
def test_a_workers_statements_have_a_limit_until_it_leaves(settings):
    settings.WORKER_STATEMENT_TIMEOUT = 0.1
    limit, before = StatementLimit(), statement_timeout()
    limit.set()
    assert statement_timeout() == "100ms"

    limit.lift()

    assert statement_timeout() == before


@on_postgresql
@pytest.mark.django_db
def test_a_pooler_that_shares_connections_is_told_no_limit(settings, monkeypatch):
    settings.WORKER_STATEMENT_TIMEOUT = 0.1
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)

    StatementLimit().set()

    assert statement_timeout() != "100ms"


class SilentProxy:
    """A TCP proxy that can lose all answers, while it still takes what is sent."""

    def __init__(self, server):
        self.is_silent = threading.Event()
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self._sockets.append(here)
                there = self._call_server()
                self._sockets.append(there)
                for pair in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self._pour, args=pair, daemon=True).start()

    def _call_server(self):
        """By its socket in the file system, if it has one."""
        if not self._server.host.startswith("/"):
            return socket.create_connection((self._server.host, self._server.port))
        there = socket.socket(socket.AF_UNIX)
        there.connect(f"{self._server.host}/.s.PGSQL.{self._server.port}")
        return there

    def _pour(self, source, target, is_answer):
        with suppress(OSError):
            while data := source.recv(65536):
                if not (is_answer and self.is_silent.is_set()):
                    target.sendall(data)

    def close(self):
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def through_proxy(transactional_db):
    """A worker that reaches the test's database through a proxy."""
    connection.ensure_connection()
    proxy = SilentProxy(connection.connection.info)
    found = connection.settings_dict
    url = (
        f"postgres://{found['USER']}:{found['PASSWORD']}@127.0.0.1:{proxy.port}"
        f"/{found['NAME']}?sslmode=disable"
    )
    environment = os.environ | {
        "DATABASE_URL": url,
        "DATABASE_URL_FILE": "",
        "QUEUE_HANG_SECONDS": "8",
        "LOG_LEVEL": "CRITICAL",
    }
    worker = subprocess.Popen(
        [sys.executable, MANAGE, "process_queue", "--watch"], env=environment
    )
    yield proxy, worker
    worker.kill()
    worker.wait()
    proxy.close()


@on_postgresql
def test_a_worker_whose_answers_are_lost_on_the_way_ends(through_proxy):
    proxy, worker = through_proxy
    wait_until(WorkerHeartbeat.objects.exists)

    proxy.is_silent.set()
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=60) == EXIT_STATUS
