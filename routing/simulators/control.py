"""The control port: faults, options, state and reset, as JSON over HTTP.

PUT    /faults/{provider}   {"kind": "slow", "delay": 2, "seconds": 30}
DELETE /faults/{provider}, /faults
PATCH  /options             {"public_url": "http://127.0.0.1:8000"}
GET    /state
POST   /inbound             {"provider": "TwilioSMS", "sender": "+1…", "text": "STOP"}
POST   /reset               {"truncate_handset_log": true}
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from routing.simulators.faults import BadFault, Fault
from routing.simulators.inbound import INBOUND_PROVIDERS, inbound_call
from routing.simulators.simulation import Simulation

# The providers that each listener simulates.
PROVIDERS_BY_LISTENER = {
    "twilio": ("TwilioSMS", "TwilioMMS"),
    "vonage": ("VonageSMS", "VonageMMS"),
    "sendgrid": ("SendGridEmail",),
    "smtp": ("SMTPEmail",),
}
PROVIDERS = [name for names in PROVIDERS_BY_LISTENER.values() for name in names]


class Control:
    """The control port's requests. `on_change` lets listeners follow the faults."""

    def __init__(
        self,
        simulation: Simulation,
        *,
        on_change: Callable[[], Awaitable[None]],
        on_reset: Callable[[], None],
    ) -> None:
        self.simulation = simulation
        self._on_change = on_change
        self._on_reset = on_reset

    def routes(self) -> list[web.RouteDef]:
        """The routes of the control port."""
        return [
            web.put("/faults/{provider}", self.put_fault),
            web.delete("/faults/{provider}", self.clear_fault),
            web.delete("/faults", self.clear_faults),
            web.patch("/options", self.change_options),
            web.get("/state", self.state),
            web.post("/inbound", self.text_in),
            web.post("/reset", self.reset),
        ]

    async def put_fault(self, request: web.Request) -> web.Response:
        """Start a fault."""
        provider = _provider(request)
        try:
            fault = Fault.read(await _object(request))
        except BadFault as error:
            raise _bad_request(str(error)) from error
        self.simulation.faults.put(provider, fault)
        await self._on_change()
        return web.json_response(fault.describe())

    async def clear_fault(self, request: web.Request) -> web.Response:
        """End the fault of one provider."""
        self.simulation.faults.clear(_provider(request))
        await self._on_change()
        return web.json_response({})

    async def clear_faults(self, request: web.Request) -> web.Response:
        """End all faults."""
        self.simulation.faults.clear()
        await self._on_change()
        return web.json_response({})

    async def change_options(self, request: web.Request) -> web.Response:
        """Change the given options, and leave the others."""
        try:
            self.simulation.change_options(await _object(request))
        except TypeError as error:
            raise _bad_request(str(error)) from error
        return await self.state(request)

    async def state(self, request: web.Request) -> web.Response:
        """What happened so far."""
        return web.json_response(self.simulation.state())

    async def text_in(self, request: web.Request) -> web.Response:
        """Let a handset text us, and return the receiver's answer."""
        wishes = await _object(request)
        try:
            call = inbound_call(
                public_url=self.simulation.options.public_url,
                now=datetime.now(UTC),
                **wishes,
            )
        except KeyError as error:
            known = ", ".join(INBOUND_PROVIDERS)
            raise _bad_request(
                f"Handsets cannot write to {error}, only to {known}."
            ) from error
        except TypeError as error:
            raise _bad_request(str(error)) from error
        status, body = await self.simulation.receipts.ask(call) or (0, "")
        return web.json_response({"status": status, "body": body})

    async def reset(self, request: web.Request) -> web.Response:
        """Back to the initial state; the handset log only on request.

        Also closes connections to the receiver, which may be about to exit.
        """
        wishes = await _object(request)
        await self.simulation.close()
        self._on_reset()
        if wishes.get("truncate_handset_log"):
            self.simulation.handset_log.truncate()
        await self._on_change()
        return web.json_response({})


def _provider(request: web.Request) -> str:
    provider = request.match_info["provider"]
    if provider not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise _bad_request(f"No simulated provider {provider!r}. Known: {known}.")
    return provider


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        value = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise _bad_request("The body is not JSON.") from error
    if not isinstance(value, dict):
        raise _bad_request("The body must be a JSON object.")
    return value


def _bad_request(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(
        text=json.dumps({"error": message}), content_type="application/json"
    )
