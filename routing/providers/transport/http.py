"""Our HTTP client and the base of the providers that speak HTTP.

Each call is sent once: no retries, no redirects, a total deadline, a limited answer.
Proxies from the environment are not used.

On Python's own client, in threads: with 200 calls of 100 ms in flight, it was measured
to take half the processor time of urllib3, whose pool also opens a new connection, with
a TLS handshake, for every call beyond its size.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    IncompleteRead,
)
from typing import Any, ClassVar
from urllib.parse import urlsplit

from routing.providers.base import (
    Enquiry,
    LookUpRefused,
    OutcomeUnknown,
    Provider,
    SendFailure,
)
from routing.providers.error_codes import Table, refused_over_http
from routing.providers.transport.deadline import (
    DEFAULT_SECONDS,
    Call,
    current_call,
    is_closing,
)
from routing.providers.transport.reaching import not_reached
from routing.text.untrusted import json_object

RETRY_AFTER_LIMIT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole and within the deadline."""

    status: int
    headers: HTTPMessage  # looked up without regard to case
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The JSON object in the body; {} if it is not one."""
        return json_object(self.body)


class HttpClient:
    """POSTs and GETs, once each. Reuses connections; safe to use from many threads."""

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout  # seconds, for the whole call
        self._connections = Connections()
        self._pid = os.getpid()

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status.

        Raises ProviderError if certainly nothing was sent, and OutcomeUnknown if
        something may have been.
        """
        return self._call("POST", url, body, headers)

    def get(self, url: str, *, headers: Mapping[str, str]) -> Answer:
        """As `post`, for requests that change nothing."""
        return self._call("GET", url, None, headers)

    def _call(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        with Call(self.timeout) as call:
            try:
                answer = self._exchange(method, url, body, headers)
            except (HTTPException, OSError, ValueError) as error:
                # Without the cause: its text may contain our credentials.
                raise _failure(call, error) from None
        if call.is_expired:
            raise OutcomeUnknown("The provider did not answer in time.")
        return answer

    def close(self) -> None:
        """Close idle connections."""
        self._of_this_process().close()

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        parts = urlsplit(url)
        origin = parts.scheme, parts.hostname or "", parts.port
        target = f"{parts.path or '/'}{parts.query and '?'}{parts.query}"
        connections = self._of_this_process()
        connection = connections.take(origin)
        try:
            response, content = connection.exchange(method, target, body, headers)
            return Answer(response.status, response.headers, content)
        finally:
            connections.give_back(origin, connection)

    def _of_this_process(self) -> Connections:
        """New connections after a fork: the old ones belong to the parent."""
        if self._pid != os.getpid():
            self._connections, self._pid = Connections(), os.getpid()
        return self._connections


def _failure(call: Call, error: Exception) -> SendFailure:
    reason = _describe(error)
    if call.is_expired:
        reason = f"no answer within the deadline ({reason})"
    if call.is_written:
        return OutcomeUnknown(f"The answer was lost: {reason}")
    return not_reached(error, reason)


def _describe(error: BaseException) -> str:
    """The innermost error in one line; without its text if that may quote our input."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    if isinstance(error, ValueError) and not isinstance(error, OSError | HTTPException):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"


def read_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """A Retry-After in seconds or as an HTTP date, at most a day; None if no wait."""
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


def by_clock_of(answer: Answer, enquiry: Enquiry) -> Enquiry:
    """The enquiry by the clock of the server that answered: see its Date header.

    The clocks may be hours apart. Without a Date they are taken to agree.
    """
    try:
        their_now = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return enquiry
    if their_now.tzinfo is None:
        their_now = their_now.replace(tzinfo=UTC)
    return enquiry.by_clock(their_now)


def basic_auth(user: str, password: str) -> dict[str, str]:
    """The Authorization header of HTTP Basic."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def utc_now() -> datetime:
    """The clock that providers read unless a test gives them another."""
    return datetime.now(UTC)


class HttpProvider(Provider):
    """Base of the providers that speak HTTP; one subclass per channel of an API.

    Subclasses set the table of their codes and override `read_error`. They declare the
    option BASE_URL.
    """

    codes: ClassVar[Table] = {}

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self.clock: Callable[[], datetime] = utc_now
        self.http = HttpClient(timeout=float(options.get("TIMEOUT", DEFAULT_SECONDS)))

    @classmethod
    def simulated_options(cls, port: int) -> dict[str, Any]:
        """BASE_URL; subclasses add their credentials."""
        return {"BASE_URL": f"http://127.0.0.1:{port}"}

    def url(self, path: str) -> str:
        """`path`, which begins with a slash, below the option BASE_URL."""
        return str(self.options["BASE_URL"]).rstrip("/") + path

    def fetch(self, url: str, *, headers: Mapping[str, str]) -> Answer:
        """GET a URL for `look_up`; LookUpRefused unless the answer is 2xx."""
        try:
            answer = self.http.get(url, headers=headers)
        except SendFailure as failure:
            raise LookUpRefused(str(failure)) from None
        if not answer.is_success:
            raise LookUpRefused(
                str(self.refusal(answer)), retry_after=self.retry_after(answer)
            )
        return answer

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
        """The provider's code and text, each "" if it gives none; overridden by all."""
        raise NotImplementedError

    def retry_after(self, answer: Answer) -> timedelta | None:
        """The wait that the provider asks for; overridden if not by Retry-After."""
        return read_retry_after(answer.headers.get("Retry-After"), now=self.clock())

    def close(self) -> None:
        """Close connections."""
        self.http.close()


ANSWER_LIMIT = 1 << 20  # bytes
# A server that closes an idle connection just as we write to it leaves the outcome
# unknown, so none is reused that has been idle for about as long as servers wait.
IDLE_SECONDS = 10.0

Origin = tuple[str, str, int | None]  # scheme, host, port


class Connections:
    """The connections of one process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, deque[Connection]] = defaultdict(deque)

    def take(self, origin: Origin) -> Connection:
        """The most recently used one that is still alive, else a new one."""
        idle = self._idle[origin]
        with contextlib.suppress(IndexError):
            while connection := idle.pop():
                if connection.is_usable():
                    return connection
                connection.close()
        scheme, host, port = origin
        if scheme == "https":
            return _TLSConnection(host, port, context=self._tls)
        if scheme == "http":
            return Connection(host, port)
        raise ValueError("The URL is neither http nor https.")

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep it if it is still open, and close those that were idle for too long.

        Its call releases it first: another thread may take it at once.
        """
        current_call().let_go()
        connection.released_at = time.monotonic()
        idle = self._idle[origin]
        if connection.sock is not None:
            idle.append(connection)
        with contextlib.suppress(IndexError):
            while idle[0].is_stale():
                idle.popleft().close()

    def close(self) -> None:
        """Close the idle ones."""
        for idle in self._idle.values():
            with contextlib.suppress(IndexError):
                while connection := idle.pop():
                    connection.close()

    def __del__(self) -> None:
        """Leave no sockets behind when the client is garbage-collected."""
        self.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


class _FinalResponse(HTTPResponse):
    """Waits for the final answer. Python's own skips only "100 Continue": it takes any
    other 1xx for the answer, and leaves the real one to the connection's next call.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = HTTPStatus.CONTINUE <= status < HTTPStatus.OK
        return version, HTTPStatus.CONTINUE if is_interim else status, reason


class Connection(HTTPConnection):
    """Tells the current call which socket it uses, and when the first byte leaves."""

    response_class = _FinalResponse
    released_at = 0.0
    _outgoing = b""

    def exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """The answer and its body. Closes the connection if anything raises."""
        try:
            plain = {**headers, "Accept-Encoding": "identity"}
            self.request(method, target, body=body, headers=plain)
            self._flush()
            response = self.getresponse()
            return response, _read(response)
        except BaseException:
            self.close()
            raise

    def is_stale(self) -> bool:
        """Whether it has been idle for too long."""
        return time.monotonic() - self.released_at > IDLE_SECONDS

    def is_usable(self) -> bool:
        """Whether it may be written to."""
        return not (self.sock is None or self.is_stale() or is_closing(self.sock))

    def connect(self) -> None:
        """Connect within the call's deadline."""
        self.sock = current_call().connect(self.host, self.port)

    def send(self, data: Any) -> None:
        """Buffer what `request` writes, so that head and body leave together."""
        self._outgoing += data

    def _flush(self) -> None:
        data, self._outgoing = self._outgoing, b""
        if self.sock is None:
            self.connect()
        call = current_call()
        call.use(self.sock)  # again: the connection may be an old one
        self.sock.settimeout(call.remaining())
        call.is_written = True
        self.sock.sendall(data)


class _TLSConnection(Connection):
    default_port = 443

    def __init__(self, host: str, port: int | None, *, context: ssl.SSLContext) -> None:
        super().__init__(host, port)
        self._context = context

    def connect(self) -> None:
        super().connect()
        plain = self.sock
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        current_call().use(self.sock)


def _read(response: HTTPResponse) -> bytes:
    """The whole body. A read with a limit does not notice a body that was cut off."""
    body = response.read(ANSWER_LIMIT + 1)
    if len(body) > ANSWER_LIMIT:
        raise HTTPException(f"The answer is longer than {ANSWER_LIMIT} bytes.")
    if response.length:
        raise IncompleteRead(body, response.length)
    return body
