"""Doing a thing once, however often a caller asks for it with the same key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.db import connection, transaction

from messaging.models import KeptAnswer


class KeyInFlight(Exception):
    """A request with this key is being worked on. Ask again in a moment."""


class KeyReused(Exception):
    """This key was used for another request. Take a new key for each request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller gets: the first time, and again."""

    status: int
    body: str
    location: str = ""
    is_replayed: bool = False


def answer_once(
    *,
    user_id: int,
    key: str,
    request_digest: str,
    now: datetime,
    act: Callable[[], Answer],
) -> Answer:
    """Act and keep the answer, or give the answer that was kept.

    One transaction:
    1. lock the key, or refuse: another request holds it
    2. give the answer that is kept, if it was to the same request
    3. act, and keep the answer beside what was done

    Whatever ends the process in between leaves neither a deed nor an answer, and no
    lock: the caller's next try begins anew. So does one after an exception of `act`.
    """
    with transaction.atomic():
        _lock(f"{user_id} {key}")
        KeptAnswer.objects.stale(now).filter(user=user_id, key=key).delete()
        kept = KeptAnswer.objects.filter(user=user_id, key=key).first()
        if kept is not None:
            return _replay(kept, request_digest)
        answer = act()
        KeptAnswer.objects.create(
            user_id=user_id,
            key=key,
            request_digest=request_digest,
            status=answer.status,
            location=answer.location,
            body=answer.body,
            created_at=now,
        )
    return answer


def _lock(name: str) -> None:
    """Until the transaction ends, in whatever way.

    SQLite has one writer at a time: there the second request waits, and is then given
    the first one's answer.
    """
    if connection.vendor != "postgresql":
        return
    digest = sha256(f"idempotency key {name}".encode()).digest()
    with connection.cursor() as cursor:
        number = int.from_bytes(digest[:8], "big", signed=True)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if not cursor.fetchone()[0]:
            raise KeyInFlight(KeyInFlight.__doc__)


def _replay(kept: KeptAnswer, request_digest: str) -> Answer:
    if kept.request_digest != request_digest:
        raise KeyReused(KeyReused.__doc__)
    return Answer(kept.status, kept.body, kept.location, is_replayed=True)
