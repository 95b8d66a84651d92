"""Controls a running simulator from a test, the demo or a benchmark. No Django."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_TIMEOUT_SECONDS = 10


class SimulatorRefused(Exception):
    """The simulator did not understand the request."""


class SimulatorClient:
    """The control port of the simulators at `base_port`."""

    def __init__(self, base_port: int) -> None:
        self.base_port = base_port
        self._url = f"http://127.0.0.1:{base_port}"
        self._opener = build_opener(ProxyHandler({}))  # it is on this machine

    def set_fault(self, provider: str, kind: str, **parameters: Any) -> None:
        """Make a provider fail; see `faults.Fault` for kinds and parameters."""
        self._call("PUT", f"/faults/{provider}", {"kind": kind, **parameters})

    def clear_fault(self, provider: str) -> None:
        """End the fault of one provider."""
        self._call("DELETE", f"/faults/{provider}")

    def clear_faults(self) -> None:
        """End all faults."""
        self._call("DELETE", "/faults")

    def configure(self, **options: Any) -> None:
        """Change some of `simulation.SimulationOptions` until the next reset."""
        self._call("PATCH", "/options", options)

    def state(self) -> dict[str, Any]:
        """Counts per provider, current faults, receipts and options."""
        return self._call("GET", "/state")

    def text_us(self, provider: str, sender: str, text: str) -> tuple[int, str]:
        """Let a handset text us through a provider; returns our status and body.

        The call goes to the option `public_url`; status 0: no answer.
        """
        message = {"provider": provider, "sender": sender, "text": text}
        answer = self._call("POST", "/inbound", message)
        return answer["status"], answer["body"]

    def reset(self, *, truncate_handset_log: bool = False) -> None:
        """Forget faults, messages, counts and changed options."""
        self._call("POST", "/reset", {"truncate_handset_log": truncate_handset_log})

    def _call(
        self, method: str, path: str, payload: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        body = None if payload is None else json.dumps(payload).encode()
        request = Request(self._url + path, body, method=method)  # noqa: S310 - http
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except HTTPError as refusal:
            with refusal:
                why = json.load(refusal).get("error", refusal.code)
            raise SimulatorRefused(why) from None
