"""Receipts posted to a web server, as fast as it answers, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

from benchmarks.callers import Posted, post_all
from benchmarks.processor_time import database_server, seconds_of
from benchmarks.signed_receipts import SENT_AND_DELIVERED, SIGNERS, Event
from benchmarks.stage import tidy
from benchmarks.web import Web
from routing.models import WaitingReceipt
from routing.reference import reference_for

CALLERS = 64
EVENTS_IN_A_CALL = {"SendGridEmail": 50}  # 1 by the others
_numbers = count(1_000_000_000)  # of messages that nobody looks for


class Taken(NamedTuple):
    """Receipts that were taken in."""

    receipts: int
    posted: Posted
    cpu: float  # seconds, of the web server and the database

    @property
    def rate(self) -> float:
        """Receipts per second."""
        return self.receipts / self.posted.seconds

    @property
    def cpu_ms(self) -> float:
        """Of processor time, for each receipt."""
        return self.cpu / self.receipts * 1000


def take_in(web: Web, provider: str, events: Sequence[Event]) -> Taken:
    """Post what a provider says; every call must be taken."""
    sign, size = SIGNERS[provider], EVENTS_IN_A_CALL.get(provider, 1)
    requests = [
        sign(events[start : start + size], port=web.port)
        for start in range(0, len(events), size)
    ]
    processes = (web.pid, *database_server())
    before = seconds_of(*processes)
    posted = post_all(requests, port=web.port, callers=CALLERS)
    cpu = seconds_of(*processes) - before
    assert posted.statuses == {204: len(requests)}, posted.statuses
    return Taken(len(events), posted, cpu)


def take_in_strays(web: Web, provider: str, number: int) -> Taken:
    """The same with receipts of messages that are not there: intake does not look."""
    taken = take_in(web, provider, list(_strays(provider, number)))
    assert WaitingReceipt.objects.count() == number
    WaitingReceipt.objects.all().delete()
    tidy()
    return taken


def _strays(provider: str, number: int) -> Iterator[Event]:
    recipient = "u1@example.com" if "Email" in provider else "+12000000001"
    for _ in range(number // 2):
        pk = next(_numbers)
        reference = reference_for(pk, 1, provider=provider)
        for status in SENT_AND_DELIVERED[provider]:
            yield Event(reference, f"SM{pk:032x}", recipient, status)
