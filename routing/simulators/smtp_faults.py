"""How an SMTP reply goes wrong, and the session that keeps a message's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

from routing.simulators.faults import Fault, FaultKind

ALL_WELL = "250 2.0.0 OK"
_MEGABYTE = 1 << 20

# The stage at which a fault of each kind strikes, unless it gives one itself. DATA is
# the final dot: from there on, a lost answer leaves the outcome unknown.
_STAGES = {
    FaultKind.ERROR: "RCPT",
    FaultKind.THROTTLE: "MAIL",
    FaultKind.UNAVAILABLE: "MAIL",
}
_REPLIES = {
    FaultKind.ERROR: "550 5.7.1 Refused",
    FaultKind.THROTTLE: "451 4.7.1 Too many messages, slow down",
    FaultKind.UNAVAILABLE: "421 4.3.2 Service not available, closing the channel",
}


class SimulatedEnvelope(Envelope):
    """One incoming message, and the fault that strikes it."""

    fault: Fault | None = None

    def fault_at(self, stage: str) -> Fault | None:
        """The fault, if it strikes at this stage."""
        if self.fault is None:
            return None
        shows_at = self.fault.stage or _STAGES.get(self.fault.kind, "DATA")
        return self.fault if shows_at == stage else None


class SMTPSession(SMTP):
    """One connection."""

    @property
    def writer(self) -> asyncio.StreamWriter:
        """The stream below aiosmtpd, for replies that it would not send."""
        return self._writer

    @property
    def is_idle(self) -> bool:
        """Whether no message is being processed."""
        return self.envelope is None or not self.envelope.mail_from

    def _create_envelope(self) -> SimulatedEnvelope:
        return SimulatedEnvelope()


async def misbehave(fault: Fault, session: SMTPSession) -> str | None:
    """Apply the fault; returns the reply to send, or None to continue normally."""
    if fault.kind in _REPLIES:
        code, _, text = _REPLIES[fault.kind].partition(" ")
        return f"{fault.code or code} {fault.message or text}"
    return await _MISBEHAVIOURS[fault.kind](fault, session)


async def _slow(fault: Fault, session: SMTPSession) -> str | None:
    await asyncio.sleep(fault.delay)
    return None


async def _hang(fault: Fault, session: SMTPSession) -> str | None:
    await asyncio.Event().wait()  # aiosmtpd cancels it when the client disconnects
    return None


async def _drop(fault: Fault, session: SMTPSession) -> str | None:
    session.writer.transport.abort()
    return await _hang(fault, session)


async def _garbage(fault: Fault, session: SMTPSession) -> str | None:
    return "?\x00\x01 this is not an SMTP reply"


async def _huge(fault: Fault, session: SMTPSession) -> str | None:
    line = b"250-%s\r\n" % (b"x" * 500)
    for _ in range(fault.megabytes * _MEGABYTE // len(line)):
        session.writer.write(line)
        await session.writer.drain()
    return ALL_WELL


async def _drip(fault: Fault, session: SMTPSession) -> str | None:
    for byte in ALL_WELL.encode():
        session.writer.write(bytes([byte]))
        await asyncio.sleep(fault.interval)
    return ""  # aiosmtpd adds the line end


_MISBEHAVIOURS: dict[
    FaultKind, Callable[[Fault, SMTPSession], Coroutine[Any, Any, str | None]]
] = {
    FaultKind.SLOW: _slow,
    FaultKind.HANG: _hang,
    FaultKind.DROP: _drop,
    FaultKind.GARBAGE: _garbage,
    FaultKind.HUGE: _huge,
    FaultKind.DRIP: _drip,
}
