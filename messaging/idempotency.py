"""Act once per idempotency key, however often a caller repeats the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.db import connection, transaction

from messaging.models import KeptAnswer


class KeyInFlight(Exception):
    """A request with this key is still in progress. Try again in a moment."""


class KeyReused(Exception):
    """This key was used for another request. Use a new key for each request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response, for the first request and for its repeats."""

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
    """Act and store the answer, or return the stored answer.

    In one transaction:
    1. lock the key, or raise KeyInFlight if another request holds it
    2. return the stored answer if there is one (KeyReused if for another request)
    3. otherwise act, and store the answer together with the effect

    If the process dies half-way or `act` raises, no effect, answer or lock remains, and
    the caller's next try starts from scratch.
    """
    with transaction.atomic():
        _lock(f"{user_id} {key}")
        kept = KeptAnswer.objects.filter(user=user_id, key=key).first()
        if kept is not None and not kept.is_stale(now):
            return _replay(kept, request_digest)
        if kept is not None:
            kept.delete()
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
    """Hold the lock until the transaction ends.

    SQLite needs none: it has one writer at a time, so that the second request waits and
    then gets the first one's answer.
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
