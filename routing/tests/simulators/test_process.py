"""The command as a process: how it starts, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from routing.simulators.process import (
    SimulatorNotStarted,
    SimulatorProcess,
    free_base_port,
)
from routing.simulators.simulation import SimulationOptions
from routing.tests.simulators.wires import ACCOUNT

pytestmark = pytest.mark.long
MANAGE = Path(__file__).resolve().parents[3] / "manage.py"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_no_database_is_needed(number):
    child = subprocess.Popen(
        [sys.executable, MANAGE, "simulate_providers", f"--port={free_base_port()}"],
        env={**os.environ, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    first_line = child.stdout.readline()
    child.send_signal(number)
    _, errors = child.communicate(timeout=10)

    assert first_line.startswith("ready control=127.0.0.1:")
    assert (child.returncode, errors) == (0, "")


def test_it_listens_where_the_application_looks_for_it():
    base_port = free_base_port()
    child = subprocess.Popen(
        [sys.executable, MANAGE, "simulate_providers"],
        env={**os.environ, "PROVIDER_SIMULATOR_PORT": str(base_port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    first_line = child.stdout.readline()
    child.terminate()
    child.communicate(timeout=10)

    assert first_line.startswith(f"ready control=127.0.0.1:{base_port} ")


def test_it_ends_cleanly_while_requests_hang(capfd):
    with SimulatorProcess(SimulationOptions(seed=1)) as process:
        process.client.set_fault("TwilioSMS", "hang")
        process.client.set_fault("SMTPEmail", "hang", stage="MAIL")
        web, mail = (
            socket.create_connection(("127.0.0.1", process.base_port + offset))
            for offset in (1, 4)
        )
        web.sendall(
            f"POST {ACCOUNT}/Messages.json HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        mail.sendall(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
        time.sleep(0.3)
        counts = process.client.state()["providers"]
    web.close()
    mail.close()

    assert counts["TwilioSMS"]["fault_hang"] == counts["SMTPEmail"]["fault_hang"] == 1
    assert capfd.readouterr().err == ""


def test_it_ends_with_the_process_that_started_it():
    port = free_base_port()
    started = subprocess.run(
        [sys.executable, "-c", _START_AND_LEAVE, MANAGE, f"--port={port}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.stdout.startswith("ready"), started.stderr

    child = int(started.stdout.split()[-1])
    end = time.monotonic() + 10
    while time.monotonic() < end and is_running(child):
        time.sleep(0.1)
    assert not is_running(child)


_START_AND_LEAVE = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, sys.argv[1], "simulate_providers", "--with-parent", sys.argv[2]],
    stdout=subprocess.PIPE, text=True,
)
print(child.stdout.readline(), child.pid, flush=True)
os._exit(0)
"""


def is_running(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_one_clear_line(simulator_process):
    finished = subprocess.run(
        [
            sys.executable,
            MANAGE,
            "simulate_providers",
            f"--port={simulator_process.base_port}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert finished.returncode == 1
    [line] = finished.stderr.splitlines()
    assert "cannot be used: Address already in use" in line
    assert finished.stdout == ""


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--undelivered-share=2", "undelivered_share must be a number from 0 to 1"),
        ("--latency=-1", "latency must be a number of seconds"),
        ("--handset-log=/nowhere/log", "No such file or directory: '/nowhere/log'"),
    ],
)
def test_an_argument_of_no_use_is_one_clear_line(argument, reason):
    with pytest.raises(CommandError, match=re.escape(reason)):
        call_command("simulate_providers", argument)


def test_a_process_that_does_not_start_is_an_error(simulator_process):
    with (
        pytest.raises(SimulatorNotStarted),
        SimulatorProcess(base_port=simulator_process.base_port),
    ):
        pass


def test_a_process_of_its_own_has_its_options_and_cleans_up():
    options = SimulationOptions(latency=0.01, receipts=False, seed=7)
    with SimulatorProcess(options) as process:
        state = process.client.state()
        handset_log = process.handset_log

    assert (state["options"]["latency"], state["options"]["seed"]) == (0.01, 7)
    assert state["options"]["receipts"] is False
    assert not handset_log.exists()
