"""An SMTP server that accepts every message, except during a fault.

Our reference is in the header X-Message-Reference. SMTP has no receipts, so a message
is delivered as soon as it is accepted.
"""

from __future__ import annotations

import asyncio
import logging
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from aiosmtpd.smtp import MISSING, AuthResult

from routing.simulators.faults import Fault
from routing.simulators.handset import SimulatedMessage, one_click_url
from routing.simulators.simulation import Simulation
from routing.simulators.smtp_faults import (
    ALL_WELL,
    SimulatedEnvelope,
    SMTPSession,
    misbehave,
)

PROVIDER = "SMTPEmail"
_AUTH_STAGE = frozenset({"AUTH"})
_MESSAGE_STAGES = frozenset({"", "MAIL", "RCPT", "DATA"})

# aiosmtpd logs every command of every session at INFO, and warns about its own logins.
logging.getLogger("mail.log").setLevel(logging.ERROR)


class SMTPWire:
    """Builds one session per connection; aiosmtpd calls the `handle_` hooks."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._sessions: WeakSet[SMTPSession] = WeakSet()

    def protocol(self) -> SMTPSession:
        """A session for a new connection; called by the listener."""
        session = SMTPSession(
            self,
            hostname="simulated",
            ident="SMTP simulator",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=_let_in,
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session

    def hang_up(self) -> None:
        """Close the connections that are not processing a message."""
        for session in list(self._sessions):
            if session.transport is not None and session.is_idle:
                session.transport.close()

    async def handle_EHLO(  # noqa: N802
        self,
        _server: SMTPSession,
        session: Any,
        _envelope: SimulatedEnvelope,
        hostname: str,
        replies: list[str],
    ) -> list[str]:
        """Announce PIPELINING, which aiosmtpd supports without saying so."""
        session.host_name = hostname
        return [*replies[:-1], "250-PIPELINING", replies[-1]]

    async def handle_AUTH(self, server: SMTPSession, *_: Any) -> Any:  # noqa: N802
        """Refuse the login if a fault of that stage strikes; else aiosmtpd decides."""
        fault = self.simulation.faults.strike(PROVIDER, stages=_AUTH_STAGE)
        reply = await self._misbehave(fault, server)
        return MISSING if reply is None else reply

    async def handle_MAIL(  # noqa: N802
        self,
        server: SMTPSession,
        _session: Any,
        envelope: SimulatedEnvelope,
        address: str,
        options: list[str],
    ) -> str:
        """Begin a message, and draw the fault that will strike it."""
        self.simulation.count(PROVIDER, "requests")
        envelope.fault = self.simulation.faults.strike(PROVIDER, stages=_MESSAGE_STAGES)
        reply = await self._misbehave(envelope.fault_at("MAIL"), server)
        if reply is not None:
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTPSession,
        _session: Any,
        envelope: SimulatedEnvelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Add a recipient, if there is such a mailbox."""
        reply = await self._misbehave(envelope.fault_at("RCPT"), server)
        if reply is not None:
            return reply
        if address.startswith("unknown"):
            self.simulation.count(PROVIDER, "refused")
            return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTPSession, _session: Any, envelope: SimulatedEnvelope
    ) -> str:
        """Accept the message; it is delivered before the answer is sent."""
        fault = envelope.fault_at("DATA")
        if fault is None or fault.is_taken:
            self._accept(envelope)
        reply = await self._misbehave(fault, server)
        if reply is not None:
            return reply
        await asyncio.sleep(self.simulation.options.latency)
        return f"{ALL_WELL}: queued as {uuid4().hex[:12].upper()}"

    def _accept(self, envelope: SimulatedEnvelope) -> None:
        content = envelope.content
        raw = content if isinstance(content, bytes) else b""
        mail = message_from_bytes(raw, EmailMessage, policy=default)
        for recipient in envelope.rcpt_tos:
            message = SimulatedMessage(
                provider=PROVIDER,
                external_message_id=_header(mail, "Message-ID"),
                reference=_header(mail, "X-Message-Reference"),
                recipient=recipient,
                subject=_header(mail, "Subject"),
                body=_text(mail),
                unsubscribe_url=one_click_url(mail),
            )
            self.simulation.accept(message)

    async def _misbehave(self, fault: Fault | None, server: SMTPSession) -> str | None:
        """The reply of a fault that strikes here; None without one."""
        if fault is None:
            return None
        self.simulation.count(PROVIDER, f"fault_{fault.kind}")
        return await misbehave(fault, server)


def _let_in(*_: Any) -> AuthResult:
    return AuthResult(success=True)


def _header(mail: EmailMessage, name: str) -> str:
    return str(mail.get(name, "")).strip()


def _text(mail: EmailMessage) -> str:
    """The text without the line ends of SMTP."""
    body = mail.get_body(("plain", "html"))
    text = "" if body is None else str(body.get_content())
    return text.replace("\r\n", "\n").removesuffix("\n")
