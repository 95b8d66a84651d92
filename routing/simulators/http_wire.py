"""The base of a simulated HTTP API: read, apply the fault if there is one, answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from aiohttp import web

from routing.simulators.faults import Fault, FaultKind
from routing.simulators.http_faults import MISBEHAVIOURS
from routing.simulators.simulation import Simulation


class Refusal(Exception):
    """The provider refuses the request."""

    def __init__(
        self, code: str, message: str = "", *, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its body read."""

    headers: Mapping[str, str]
    body: bytes

    def form(self) -> dict[str, list[str]]:
        """The fields of a form, each with all its values."""
        return parse_qs(self.body.decode(errors="replace"), keep_blank_values=True)

    def json(self) -> Any:
        """The JSON document; raises ValueError if it is not JSON."""
        return json.loads(self.body)


class HttpWire:
    """A vendor's HTTP API. Each subclass implements one.

    `server` mounts `routes`; `answer` calls the hooks below it. Subclasses override all
    hooks, and `reset` and `routes` if they need to.
    """

    path: ClassVar[str]  # where messages are posted
    throttle_code: ClassVar[str] = ""
    throttle_message: ClassVar[str] = "Too Many Requests"

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def routes(self) -> list[web.RouteDef]:
        """The routes of this API."""
        return [web.post(self.path, self.answer)]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request to send, subject to the current fault."""
        call = Call(request.headers, await request.read())
        provider = self.provider_of(call)
        self.simulation.count(provider, "requests")
        if fault := self.simulation.faults.strike(provider):
            self.simulation.count(provider, f"fault_{fault.kind}")
            return await self._misbehave(fault, request, call)
        response = self._take_or_refuse(call)
        if self.simulation.options.latency:
            await asyncio.sleep(self.simulation.options.latency)
        return response

    def provider_of(self, call: Call) -> str:
        """The name in MESSAGE_PROVIDERS that this request belongs to."""
        raise NotImplementedError

    def take(self, call: Call) -> web.Response:
        """Check the request like the vendor and accept it, or raise Refusal."""
        raise NotImplementedError

    def refuse(self, refusal: Refusal) -> web.Response:
        """The error in the vendor's format."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all messages; overridden by APIs that keep some."""

    def _take_or_refuse(self, call: Call) -> web.Response:
        try:
            return self.take(call)
        except Refusal as refusal:
            self.simulation.count(self.provider_of(call), "refused")
            return self.refuse(refusal)

    async def _misbehave(
        self, fault: Fault, request: web.BaseRequest, call: Call
    ) -> web.StreamResponse:
        if fault.kind is FaultKind.ERROR:
            return self.refuse(Refusal(fault.code, fault.message, status=fault.status))
        if fault.kind is FaultKind.THROTTLE:
            return self._throttle(fault)
        if fault.kind is FaultKind.UNAVAILABLE:
            return _unavailable(fault)
        response = self._take_or_refuse(call) if fault.is_taken else None
        return await MISBEHAVIOURS[fault.kind](fault, request, response)

    def _throttle(self, fault: Fault) -> web.Response:
        response = self.refuse(
            Refusal(
                fault.code or self.throttle_code,
                fault.message or self.throttle_message,
                status=fault.status,
            )
        )
        return _with_retry_after(response, fault)


def _unavailable(fault: Fault) -> web.Response:
    """The answer of a load balancer in front of the vendor."""
    response = web.Response(
        status=503,
        text="<html><body><h1>503 Service Unavailable</h1></body></html>\n",
        content_type="text/html",
    )
    return _with_retry_after(response, fault)


def _with_retry_after(response: web.Response, fault: Fault) -> web.Response:
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response
