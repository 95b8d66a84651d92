"""The process: one listener per vendor and one for control, until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path

from aiohttp import web

from routing.simulators.control import PROVIDERS_BY_LISTENER, Control
from routing.simulators.credentials import PORT_OFFSETS
from routing.simulators.faults import FaultKind
from routing.simulators.handset import HandsetLog
from routing.simulators.http_vendor import HttpVendor
from routing.simulators.http_wire import HttpWire
from routing.simulators.listener import HOST, Listener, PortTaken
from routing.simulators.look_ups import SendGridActivityWire, VonageReportsWire
from routing.simulators.sendgrid import SendGridWire
from routing.simulators.simulation import Simulation, SimulationOptions
from routing.simulators.smtp import SMTPWire
from routing.simulators.twilio import TwilioWire
from routing.simulators.vonage_messages import VonageMessagesWire
from routing.simulators.vonage_sms import VonageSMSWire

_FOLLOW_SECONDS = 0.1
_PARENT_SECONDS = 1.0


async def run_simulators(
    *,
    base_port: int,
    options: SimulationOptions,
    handset_log: Path | None,
    with_parent: bool,
    on_ready: Callable[[dict[str, str]], None],
) -> None:
    """Simulate until SIGTERM or SIGINT; raises PortTaken if it cannot start.

    With `with_parent` it also ends when the process that started it has ended.
    """
    # Before we report that we are ready: after that the parent may exit.
    parent = os.getppid() if with_parent else None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = HandsetLog(handset_log)
    try:
        async with Simulators(base_port, Simulation(options, log)) as simulators:
            on_ready(simulators.addresses())
            await _wait_for_end(stop, parent=parent)
    finally:
        log.close()


async def _wait_for_end(stop: asyncio.Event, *, parent: int | None) -> None:
    while not stop.is_set() and parent in (None, os.getppid()):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _PARENT_SECONDS)


class Simulators:
    """All listeners over one simulation, as an async context manager."""

    def __init__(self, base_port: int, simulation: Simulation) -> None:
        self.simulation = simulation
        self._ports = {name: base_port + nth for name, nth in PORT_OFFSETS.items()}
        self._vendors: list[HttpVendor] = []
        self._listeners: dict[str, Listener] = {}
        self._lock = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Simulators:
        try:
            await self._open_all()
        except BaseException:
            await self.close()
            raise
        self._follower = asyncio.create_task(self._keep_following())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def addresses(self) -> dict[str, str]:
        """Where each listener is reached."""
        return {name: f"{HOST}:{port}" for name, port in self._ports.items()}

    async def follow_faults(self) -> None:
        """Close the listeners that should refuse connections, and open the others."""
        async with self._lock:
            for name, providers in PROVIDERS_BY_LISTENER.items():
                if any(map(self._refuses, providers)):
                    self._listeners[name].close()
                else:
                    await self._listeners[name].open()

    async def close(self) -> None:
        """Stop listening; messages not yet delivered are lost."""
        if self._follower is not None:
            self._follower.cancel()
        for listener in self._listeners.values():
            listener.close()
        for vendor in self._vendors:
            await vendor.stop()
        await self.simulation.close()

    def _refuses(self, provider: str) -> bool:
        fault = self.simulation.faults.current(provider)
        return fault is not None and fault.kind is FaultKind.REFUSE

    async def _keep_following(self) -> None:
        """Open a listener again when its fault ends by itself."""
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            with suppress(PortTaken):  # by another process; try again next time
                await self.follow_faults()

    async def _open_all(self) -> None:
        wires: dict[str, list[HttpWire]] = {
            "twilio": [TwilioWire(self.simulation)],
            "vonage": [
                VonageSMSWire(self.simulation),
                VonageMessagesWire(self.simulation),
            ],
            "sendgrid": [SendGridWire(self.simulation)],
        }
        look_ups = {
            "vonage": VonageReportsWire(self.simulation).routes(),
            "sendgrid": SendGridActivityWire(self.simulation).routes(),
        }
        for name, spoken in wires.items():
            routes = [route for wire in spoken for route in wire.routes()]
            await self._add_http(name, routes + look_ups.get(name, []))
        await self._add_smtp()

        def forget_messages() -> None:
            for wire in chain.from_iterable(wires.values()):
                wire.reset()

        control = Control(
            self.simulation, on_change=self.follow_faults, on_reset=forget_messages
        )
        await self._add_http("control", control.routes())

    async def _add_http(self, name: str, routes: list[web.RouteDef]) -> None:
        vendor = HttpVendor(routes)
        self._vendors.append(vendor)
        protocol = await vendor.start()
        port = self._ports[name]
        await self._listen(
            Listener(name, port, protocol=protocol, hang_up=vendor.hang_up)
        )

    async def _add_smtp(self) -> None:
        wire = SMTPWire(self.simulation)
        await self._listen(
            Listener(
                "smtp",
                self._ports["smtp"],
                protocol=wire.protocol,
                hang_up=wire.hang_up,
            )
        )

    async def _listen(self, listener: Listener) -> None:
        self._listeners[listener.name] = listener
        await listener.open()
