"""Our HTTP client and the base of the providers that speak HTTP.

urllib3 in threads: measured, the cheapest synchronous client that holds at hundreds of
calls in flight. Each call goes out once: no retries, no redirects, a total deadline, a
bounded answer. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from routing.providers.base import OutcomeUnknown, Provider, SendFailure
from routing.providers.deadline import DEFAULT_SECONDS, Call, current_call
from routing.providers.refusals import UNAVAILABLE, Table, refused_over_http
from routing.providers.wire import json_object

ANSWER_LIMIT = 1 << 20  # bytes
RETRY_AFTER_LIMIT = timedelta(days=1)
POOL_SIZE = 200  # connections kept per host; more may be open at once
# A server that closes an idle connection just as we write on it leaves the outcome
# unknown, so none is used that was idle for as long as servers usually wait.
IDLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole and within the deadline."""

    status: int
    headers: Mapping[str, str]  # looked up without regard to case
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body's JSON object, {} when it is none."""
        return json_object(self.body)


class HttpClient:
    """POSTs, once each. Keeps connections; safe to use from many threads."""

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout  # seconds, for the whole call
        self._pools = _new_pools()
        self._pid = os.getpid()

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status.

        Raises ProviderError when certainly nothing was sent, and OutcomeUnknown when
        something may have been.
        """
        with Call(self.timeout) as call:
            try:
                answer = self._exchange(url, body, headers)
            except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                # Without the cause: its text may hold a header with our credentials.
                raise _failure(call, _describe(error)) from None
        if call.is_expired:
            raise OutcomeUnknown("The provider did not answer in time.")
        return answer

    def close(self) -> None:
        """Close the connections that are idle."""
        self._pools_of_this_process().clear()

    def _exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        response = self._pools_of_this_process().urlopen(
            "POST",
            url,
            body=body,
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=Timeout(connect=self.timeout, read=self.timeout),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            return Answer(response.status, response.headers, _read(response))
        finally:
            response.close()  # a no-op for a connection that has gone back already

    def _pools_of_this_process(self) -> PoolManager:
        """A forked child must not speak on its parent's connections."""
        if self._pid != os.getpid():
            self._pools, self._pid = _new_pools(), os.getpid()
        return self._pools


def _read(response: BaseHTTPResponse) -> bytes:
    """The body; urllib3 tells of one that was cut by the read after the last only."""
    body = b""
    while chunk := response.read(ANSWER_LIMIT + 1 - len(body)):
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise HTTPError(f"The answer is longer than {ANSWER_LIMIT} bytes.")
    return body


def _failure(call: Call, reason: str) -> SendFailure:
    if call.is_expired:
        reason = f"no answer within the deadline ({reason})"
    if call.is_written:
        return OutcomeUnknown(f"The answer was lost: {reason}")
    return UNAVAILABLE(f"The provider could not be reached: {reason}")


def _describe(error: BaseException) -> str:
    """The innermost error in one line, without the text of those that quote input."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    if isinstance(error, ValueError) and not isinstance(error, OSError | HTTPError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"


class _WatchedConnection(HTTPConnection):
    """Tells the current call its socket and the moment of the first byte."""

    released_at = 0.0

    def _new_conn(self) -> Any:
        return current_call().connect(self._dns_host, self.port or self.default_port)

    def connect(self) -> None:
        super().connect()
        current_call().use(self.sock)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        call = current_call()
        call.use(self.sock)  # again: the connection may be an old one
        call.is_written = True
        super().send(data)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if time.monotonic() - connection.released_at > IDLE_SECONDS:
            connection.close()  # opens itself again when it is used
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            # Before another thread can take it, or its deadline would be ours.
            current_call().let_go()
            conn.released_at = time.monotonic()
        super()._put_conn(conn)


class _WatchedTLSPool(_WatchedPool, HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


def _new_pools() -> PoolManager:
    pools = PoolManager(maxsize=POOL_SIZE, block=False, retries=False)
    pools.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}
    return pools


def read_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """A Retry-After in seconds or as an HTTP date, at most a day; None for no wait."""
    seconds = _seconds(value.strip(), now) if value else 0
    if seconds <= 0:
        return None
    return min(timedelta(seconds=seconds), RETRY_AFTER_LIMIT)


def _seconds(value: str, now: datetime) -> float:
    if re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def basic_auth(user: str, password: str) -> dict[str, str]:
    """The Authorization header of HTTP Basic."""
    return dict(make_headers(basic_auth=f"{user}:{password}"))


def utc_now() -> datetime:
    """The clock that providers read unless a test gives them another."""
    return datetime.now(UTC)


class HttpProvider(Provider):
    """Base of the providers that speak HTTP; one subclass per channel of an API.

    Subclasses give the table of their codes and override `read_error`.
    """

    codes: ClassVar[Table] = {}

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.clock: Callable[[], datetime] = utc_now
        self.http = HttpClient(timeout=float(options.get("TIMEOUT", DEFAULT_SECONDS)))

    def url(self, path: str) -> str:
        """`path`, which begins with a slash, below the option BASE_URL."""
        return str(self.options["BASE_URL"]).rstrip("/") + path

    def refusal(self, answer: Answer) -> SendFailure:
        """What an answer that is not 2xx means; called by `send`."""
        code, text = self.read_error(answer)
        return refused_over_http(
            answer.status,
            table=self.codes,
            code=code,
            text=text,
            retry_after=self.retry_after(answer),
        )

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """The provider's code and text, "" for what it does not give."""
        raise NotImplementedError

    def retry_after(self, answer: Answer) -> timedelta | None:
        """The wait that the provider asks for; overridden where it has its own way."""
        return read_retry_after(answer.headers.get("Retry-After"), now=self.clock())

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()
