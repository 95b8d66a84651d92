"""Providers that take messages and confirm each with two receipts, posted to us.

As cheap as those of benchmarks/servers.py: raw asyncio, and connections that are kept;
but the receipts are really signed. One runs in its own process:
`python -m benchmarks.confirming PROVIDER LATENCY WEB_PORT` prints its port and, when
its input ends, how its receipts were answered. With the port 0 it posts none.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from benchmarks.callers import Callers
from benchmarks.servers import HttpProvider, twilio_message
from benchmarks.signed_receipts import SENT_AND_DELIVERED, SIGNERS, Event

CONNECTIONS = 64
DELIVERED_AFTER = 0.1  # seconds after the message has left
EVENTS_AT_MOST = 100  # in a call of SendGrid's
GATHERED_FOR = 0.05  # seconds, for such a call
# Ids of an earlier process would be of receipts that we know already.
_numbers = itertools.count(time.time_ns())


class Confirmations:
    """The receipts of one provider."""

    def __init__(self, provider: str, web_port: int) -> None:
        self.callers = Callers(web_port, CONNECTIONS)
        self._provider = provider
        self._port = web_port
        self._gathered: list[Event] = []

    def confirm(self, reference: str, external_id: str, recipient: str) -> None:
        """Say that a message has left and, a moment later, that it has arrived."""
        if not self._port:
            return
        sent, delivered = (
            Event(reference, external_id, recipient, status)
            for status in SENT_AND_DELIVERED[self._provider]
        )
        self._say(sent)
        asyncio.get_running_loop().call_later(DELIVERED_AFTER, self._say, delivered)

    def _say(self, event: Event) -> None:
        if self._provider != "SendGridEmail":
            self._post([event])
            return
        self._gathered.append(event)
        if len(self._gathered) == EVENTS_AT_MOST:
            self._post_gathered()
        elif len(self._gathered) == 1:
            asyncio.get_running_loop().call_later(GATHERED_FOR, self._post_gathered)

    def _post_gathered(self) -> None:
        if self._gathered:
            self._post(self._gathered)
            self._gathered = []

    def _post(self, events: list[Event]) -> None:
        self.callers.post(SIGNERS[self._provider](events, port=self._port))


class _Confirming(HttpProvider):
    confirmations: ClassVar[Confirmations]

    def answer(self, request: bytes) -> None:
        _, _, body = request.partition(b"\r\n\r\n")
        self.take(body)

    def take(self, body: bytes) -> None:
        """Answer, and confirm."""
        raise NotImplementedError


class _Twilio(_Confirming):
    def take(self, body: bytes) -> None:
        sid, fields = f"SM{next(_numbers):032x}", parse_qs(body.decode())
        self.write(twilio_message(sid))
        callback = urlsplit(fields["StatusCallback"][0])
        (reference,) = parse_qs(callback.query)["reference"]
        self.confirmations.confirm(reference, sid, fields["To"][0])


class _Vonage(_Confirming):
    def take(self, body: bytes) -> None:
        message_id, fields = f"{next(_numbers):016X}", parse_qs(body.decode())
        part = {"status": "0", "message-id": message_id, "to": fields["to"][0]}
        answer = {"message-count": "1", "messages": [part]}
        self.write(json.dumps(answer).encode())
        (reference,) = fields["client-ref"]
        self.confirmations.confirm(reference, message_id, f"+{fields['to'][0]}")


class _SendGrid(_Confirming):
    def take(self, body: bytes) -> None:
        self.write(b"", b"X-Message-Id: %022d\r\n" % next(_numbers))
        mail = json.loads(body)
        for each in mail["personalizations"]:
            own = {**mail.get("custom_args", {}), **each.get("custom_args", {})}
            (to,) = each["to"]
            self.confirmations.confirm(own["reference"], own["anymail_id"], to["email"])


PROVIDERS: dict[str, type[_Confirming]] = {
    "TwilioSMS": _Twilio,
    "VonageSMS": _Vonage,
    "SendGridEmail": _SendGrid,
}


@dataclass(slots=True)
class ConfirmingProvider:
    """A provider in its own process; `answers` are known once it has ended."""

    port: int
    pid: int
    answers: dict[int, int] = field(default_factory=dict)  # HTTP status -> how many


@contextmanager
def confirming_provider(
    provider: str, *, latency: float, web_port: int
) -> Iterator[ConfirmingProvider]:
    """Run one during the block."""
    command = [sys.executable, "-m", "benchmarks.confirming", provider]
    command += [str(latency), str(web_port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        running = ConfirmingProvider(int(process.stdout.readline()), process.pid)
        try:
            yield running
        finally:
            process.stdin.close()
            answers = json.loads(process.stdout.readline())
            running.answers = {int(status): count for status, count in answers.items()}


async def _serve(provider: str, latency: float, web_port: int) -> None:
    protocol = PROVIDERS[provider]
    protocol.confirmations = Confirmations(provider, web_port)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: protocol(latency), "127.0.0.1", 0, backlog=2000
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(protocol.confirmations.callers.statuses), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
