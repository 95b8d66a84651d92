"""One fault test in the house: a campaign, its workers, and how it ended."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketing_platform.testing.faults.environment import LEASE_SECONDS, Environment
from marketing_platform.testing.faults.verdict import Standing, Verdict, judge
from marketing_platform.testing.faults.worker_pool import Forked
from marketing_platform.testing.installation import wait_until
from messaging.cluster.child_process import Child
from routing.simulators.handset import HandsetEntry, read_handset_log
from routing.vocabulary import AttemptOutcome, MessageStatus

RECORDED_WITHIN = LEASE_SECONDS + 8.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long after a fault everything was in order, in seconds."""

    until_accounted: float  # every message is finished, waits, or is marked as unknown
    until_settled: float  # every message is finished


class Scenario:
    """One test in the house: a campaign of `count` messages, and its end."""

    def __init__(self, house: Environment, *, count: int, channel: int = 0) -> None:
        self.house = house
        self.database = house.database
        self.simulator = house.simulators.client
        house.begin()
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
        """Let all messages fall due then."""
        self.database.execute(f"UPDATE messaging_campaignmessage SET due_at = '{at}'")

    def start(self, count: int = 1, **wishes: Any) -> list[Child]:
        """Start workers, with the wishes that `Environment.start_worker` takes."""
        return [self.house.start_worker(**wishes) for _ in range(count)]

    def accepted(self) -> list[HandsetEntry]:
        """What providers took so far."""
        entries = read_handset_log(self.house.simulators.handset_log)
        return [entry for entry in entries if entry.event == "accepted"]

    def wait_for_accepted(self, count: int) -> None:
        """Until providers have taken so many."""
        wait_until(lambda: len(self.accepted()) >= count)

    def wait_for_strikes(self, provider: str) -> None:
        """Until the provider's fault has struck as often as it was to."""
        wait_until(lambda: provider not in self.simulator.state()["faults"])

    def wait_for_death(self, worker: Child | Forked) -> None:
        """Until the worker is gone."""
        wait_until(lambda: not worker.is_running)

    def wait_for_freeze(self, worker: Child) -> None:
        """Until the worker stands still."""
        state = Path(f"/proc/{worker.group}/stat")
        wait_until(lambda: ") T " in state.read_text())

    def wait_for_death_or_end(self, worker: Child, recipient: str) -> None:
        """Until the worker is gone, or the message to this recipient is finished."""
        finished = f"recipient = '{recipient}' AND status NOT IN (0, 1)"
        wait_until(lambda: not worker.is_running or self.messages(finished))

    def recover(self, *, seconds: float = 60.0) -> Recovery:
        """Wait for the end of the fault that is just over."""
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
        """How often providers were called, as they count it."""
        providers = self.simulator.state()["providers"].values()
        return sum(counts.get("requests", 0) for counts in providers)

    def verdict(self) -> Verdict:
        """The judge's, over what happened in this scenario."""
        return judge(
            self.acknowledged,
            self._standings(),
            Counter(entry.message.recipient for entry in self.accepted()),
            calls=self.calls(),
            attempts=self.attempts(),
        )

    def messages(self, where: str) -> int:
        """How many messages there are of which that is true."""
        return self.count("messaging_campaignmessage", where)

    def attempts(self, where: str = "1 = 1") -> int:
        """How many attempts there are, or of which that is true."""
        return self.count("routing_messagedeliveryattempt", where)

    def count(self, table: str, where: str) -> int:
        """How many rows of a table there are of which that is true."""
        found = self.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(found[0][0])

    def wait_until_applied(self, *, seconds: float = 60.0) -> None:
        """Until workers have applied all receipts that are stored."""
        wait_until(
            lambda: not self.count("routing_waitingreceipt", "set_aside_at IS NULL"),
            seconds=seconds,
        )

    def _standings(self) -> dict[str, Standing]:
        was_unknown = (
            "EXISTS (SELECT 1 FROM routing_messagedeliveryattempt AS a "
            f"WHERE a.message_id = m.id AND a.outcome = {AttemptOutcome.UNKNOWN})"
        )
        rows = self.database.rows(
            f"SELECT recipient, status, unknown_since IS NOT NULL, {was_unknown} "
            "FROM messaging_campaignmessage AS m"
        )
        return {
            recipient: Standing(MessageStatus(status), bool(flagged), bool(unknown))
            for recipient, status, flagged, unknown in rows
        }

    def _keep_messages(self, count: int, channel: int) -> None:
        ids = f"SELECT id FROM messaging_campaignmessage WHERE channel = {channel}"
        self.database.execute(
            "DELETE FROM messaging_campaignmessage WHERE id NOT IN "
            f"(SELECT id FROM ({ids} ORDER BY id LIMIT {count}) AS kept)"
        )

    def _wait_for_records(self, seconds: float) -> None:
        """Until receipts are in, and attempts are written that only they know of.

        Whoever is missing for longer will be found missing by the judge.
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
