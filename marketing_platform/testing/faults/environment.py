"""A complete installation for fault tests: database, providers, web and workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import urllib3

from marketing_platform.demo.audience import write_emails
from marketing_platform.demo.child_process import Child
from marketing_platform.demo.stage import free_port, web_command
from marketing_platform.testing.databases import Database
from marketing_platform.testing.faults.hosts import Host
from marketing_platform.testing.faults.worker_pool import Forked, WorkerPool
from marketing_platform.testing.installation import MANAGE, Installation, wait_until
from routing.simulators.process import SimulatorProcess

LEASE_SECONDS = 2
SWEEP_SECONDS = 1
VERDICT_SECONDS = 3
# Short times, so that a test sees the end of what takes minutes in production. The
# deadline of a call must be below the lease.
TIMES = {
    "PROVIDER_TIMEOUT_SECONDS": "1",
    "QUEUE_LEASE_SECONDS": str(LEASE_SECONDS),
    "QUEUE_VERDICT_SECONDS": str(VERDICT_SECONDS),
    # With a single worker, it always holds the task queue's lock when idle.
    "QCLUSTER_WORKERS": "1",
    "QCLUSTER_PATIENCE_SECONDS": "10",
}
FAULT_INJECTION = [
    sys.executable,
    "-m",
    "marketing_platform.testing.faults.fault_injection",
]
WATCH = ("process_queue", "--watch", "--window=20", "--batch-size=10")
WATCH_A_FEW = ("process_queue", "--watch", "--window=5", "--batch-size=5")


class Environment:
    """One installation with `messages` text messages and 200 e-mails in its queue.

    `begin` restores that state; tests share one environment, because migrating and
    seeding take seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database: Database,
        simulators: SimulatorProcess,
        messages: int,
    ) -> None:
        self.database = database
        self.simulators = simulators
        self.directory = directory
        self.public_url = f"http://127.0.0.1:{free_port()}"
        self.installation = Installation(
            directory,
            database_url=database.url,
            simulator_port=simulators.base_port,
            PUBLIC_URL=self.public_url,
            **TIMES,
        )
        self.installation.run("migrate", "-v0")
        self.installation.add_default_routes()
        self._fill(messages)
        database.execute(
            "UPDATE routing_channelroutingconfig SET initial_retry_delay_seconds = 1, "
            "max_retry_delay_seconds = 2"
        )
        database.snapshot()
        self.workers: list[Child | Forked] = []
        self._worker_pool: WorkerPool | None = None
        self.web = self._child("web", web_command(self.public_url))

    @contextmanager
    def open(self) -> Iterator[Environment]:
        """Open it, with its web server, which receives receipts."""
        self.web.start()
        try:
            wait_until(self._answers)
            yield self
        finally:
            self.web.stop()
            if self._worker_pool is not None:
                self._worker_pool.close()

    def begin(self) -> None:
        """Back to a full queue, no workers, and providers without faults.

        Providers first: a receipt of the previous scenario would find a message with
        the same id in this one.
        """
        client = self.simulators.client
        client.reset(truncate_handset_log=True)
        client.configure(public_url=self.public_url)
        self.database.restore()

    def end(self) -> None:
        """Stop all workers; the database does not matter any more."""
        for worker in self.workers:
            worker.signal(signal.SIGKILL)
            worker.stop()
        self.workers.clear()

    def start_worker(
        self,
        *,
        command: Sequence[str] = WATCH,
        crash: str = "",
        recipient: str = "",
        ending: str = "SIGKILL",
        clock: float = 0.0,
        on: Host | None = None,
    ) -> Child:
        """Start a worker, with an injected fault if one is given."""
        start = [sys.executable, MANAGE]
        if crash or clock:
            when = (f"--crash={crash}", f"--recipient={recipient}")
            start = [
                *FAULT_INJECTION,
                *when,
                f"--ending={ending}",
                f"--clock={clock}",
                "--",
            ]
        worker = self._child("worker", [*start, *command], on)
        self.workers.append(worker)
        worker.start()
        return worker

    def restart_web(self) -> None:
        """Kill the web server in the middle of its work, and start another one."""
        self.web.signal(signal.SIGKILL)
        self.web.stop()
        self.web.start()

    def fork_worker(self, *, crash: str = "") -> Forked:
        """A worker from the pool, with few messages in flight when it is killed."""
        if self._worker_pool is None:
            log = self.directory / "worker.log"
            self._worker_pool = WorkerPool(self._environment, log)
        worker = self._worker_pool.start([f"--crash={crash}", "--", *WATCH_A_FEW])
        self.workers.append(worker)
        return worker

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.installation.environment}

    def _child(self, name: str, command: list[str], on: Host | None = None) -> Child:
        environment = self._environment
        if on is not None:
            command = on.command(*command)
            environment["DATABASE_URL"] = self.database.url_at(on.gateway)
        log = self.directory / f"{name}.log"
        return Child(name, command, log=log, environment=environment)

    def _fill(self, messages: int) -> None:
        phones = self.directory / "phones.csv"
        rows = "".join(
            f"+1415{number:07}\n" for number in range(2000000, 2000000 + messages)
        )
        phones.write_text(f"phone\n{rows}")
        emails = self.directory / "emails.csv"
        write_emails(emails, count=200, rng=Random(1))
        for channel, path in (("sms", phones), ("email", emails)):
            subject = ["--subject=Hi"] if channel == "email" else []
            self.installation.run(
                *("send_campaign", f"--channel={channel}", f"--name={channel}"),
                *("--body=Hi", f"--recipients={path}", *subject),
            )

    def _answers(self) -> bool:
        try:
            urllib3.request("GET", f"{self.public_url}/admin/login/", retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return True
