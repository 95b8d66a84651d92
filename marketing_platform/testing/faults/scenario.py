"""One fault test in the environment: a campaign, its workers, and the result."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketing_platform.demo.child_process import Child
from marketing_platform.testing.faults.environment import LEASE_SECONDS, Environment
from marketing_platform.testing.faults.verdict import Recorded, Verdict, judge
from marketing_platform.testing.faults.worker_pool import Forked
from marketing_platform.testing.installation import wait_until
from routing.simulators.handset import HandsetEntry, read_handset_log
from routing.vocabulary import AttemptOutcome, MessageStatus

RECORDED_WITHIN = LEASE_SECONDS + 8.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long after a fault everything was in order again, in seconds."""

    until_accounted: float  # every message is finished, waiting, or marked as unknown
    until_settled: float  # every message is finished


class Scenario:
    """One test in the environment: a campaign of `count` messages, and its result."""

    def __init__(
        self, environment: Environment, *, count: int, channel: int = 0
    ) -> None:
        self.environment = environment
        self.database = environment.database
        self.simulator = environment.simulators.client
        environment.begin()
        self._keep_messages(count, channel)
        self.acknowledged = [
            recipient
            for (recipient,) in self.database.rows(
                "SELECT recipient FROM messaging_campaignmessage ORDER BY id"
            )
        ]

    def route(self, **columns: str | int) -> None:
        """Change all routes."""
        changes = ", ".join(f"{name} = {value!r}" for name, value in columns.items())
        self.database.execute(f"UPDATE routing_channelroutingconfig SET {changes}")

    def due(self, at: str) -> None:
        """Make all messages due at this time."""
        self.database.execute(f"UPDATE messaging_campaignmessage SET due_at = '{at}'")

    def start(self, count: int = 1, **wishes: Any) -> list[Child]:
        """Start workers, with the arguments of `Environment.start_worker`."""
        return [self.environment.start_worker(**wishes) for _ in range(count)]

    def accepted(self) -> list[HandsetEntry]:
        """What providers have accepted so far."""
        entries = read_handset_log(self.environment.simulators.handset_log)
        return [entry for entry in entries if entry.event == "accepted"]

    def wait_for_accepted(self, count: int) -> None:
        """Wait until providers have accepted `count` messages."""
        wait_until(lambda: len(self.accepted()) >= count)

    def wait_for_strikes(self, provider: str) -> None:
        """Wait until the provider's fault has struck as often as intended."""
        wait_until(lambda: provider not in self.simulator.state()["faults"])

    def wait_for_death(self, worker: Child | Forked) -> None:
        """Wait until the worker is gone."""
        wait_until(lambda: not worker.is_running)

    def wait_for_freeze(self, worker: Child) -> None:
        """Wait until the worker is frozen."""
        state = Path(f"/proc/{worker.group}/stat")
        wait_until(lambda: ") T " in state.read_text())

    def wait_for_death_or_end(self, worker: Child, recipient: str) -> None:
        """Wait until the worker is gone, or this recipient's message is finished."""
        finished = f"recipient = '{recipient}' AND status NOT IN (0, 1)"
        wait_until(lambda: not worker.is_running or self.messages(finished))

    def recover(self, *, seconds: float = 60.0) -> Recovery:
        """Wait until everything is in order after a fault."""
        started = time.monotonic()
        sending = f"status = {MessageStatus.SENDING}"
        self._wait_for_none(
            f"status = {MessageStatus.QUEUED} OR {sending} AND unknown_since IS NULL",
            seconds,
        )
        accounted = time.monotonic() - started
        self._wait_for_none(sending, seconds)
        settled = time.monotonic() - started
        self._wait_for_records(seconds)
        return Recovery(round(accounted, 1), round(settled, 1))

    def calls(self) -> int:
        """How often providers were called, by their own count."""
        providers = self.simulator.state()["providers"].values()
        return sum(counts.get("requests", 0) for counts in providers)

    def verdict(self) -> Verdict:
        """The judge's verdict on this scenario."""
        return judge(
            self.acknowledged,
            self._recorded(),
            Counter(entry.message.recipient for entry in self.accepted()),
            calls=self.calls(),
            attempts=self.attempts(),
        )

    def messages(self, where: str) -> int:
        """The number of messages that match."""
        return self.count("messaging_campaignmessage", where)

    def attempts(self, where: str = "1 = 1") -> int:
        """The number of attempts that match."""
        return self.count("routing_messagedeliveryattempt", where)

    def count(self, table: str, where: str) -> int:
        """The number of a table's rows that match."""
        found = self.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(found[0][0])

    def wait_until_applied(self, *, seconds: float = 60.0) -> None:
        """Wait until workers have applied all stored receipts."""
        wait_until(
            lambda: not self.count("routing_waitingreceipt", "set_aside_at IS NULL"),
            seconds=seconds,
        )

    def _recorded(self) -> dict[str, Recorded]:
        was_unknown = (
            "EXISTS (SELECT 1 FROM routing_messagedeliveryattempt AS a "
            f"WHERE a.message_id = m.id AND a.outcome = {AttemptOutcome.UNKNOWN})"
        )
        rows = self.database.rows(
            f"SELECT recipient, status, unknown_since IS NOT NULL, {was_unknown} "
            "FROM messaging_campaignmessage AS m"
        )
        return {
            recipient: Recorded(MessageStatus(status), bool(flagged), bool(unknown))
            for recipient, status, flagged, unknown in rows
        }

    def _keep_messages(self, count: int, channel: int) -> None:
        ids = f"SELECT id FROM messaging_campaignmessage WHERE channel = {channel}"
        self.database.execute(
            "DELETE FROM messaging_campaignmessage WHERE id NOT IN "
            f"(SELECT id FROM ({ids} ORDER BY id LIMIT {count}) AS kept)"
        )

    def _wait_for_records(self, seconds: float) -> None:
        """Wait for outstanding receipts and attempts.

        The judge reports those that are missing after that.
        """
        wait_until(
            lambda: not self.simulator.state()["receipts"]["pending"], seconds=seconds
        )
        self.wait_until_applied(seconds=seconds)
        with suppress(AssertionError):
            wait_until(
                lambda: self.attempts() >= self.calls(),
                seconds=RECORDED_WITHIN,
            )

    def _wait_for_none(self, where: str, seconds: float) -> None:
        wait_until(lambda: not self.messages(where), seconds=seconds)
