"""Look-ups at the simulated Vonage and SendGrid; Twilio's are in its own module.

https://developer.vonage.com/en/api/reports
https://www.twilio.com/docs/sendgrid/api-reference/email-activity/filter-all-messages
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from routing.simulators import credentials
from routing.simulators.archive import Remembered
from routing.simulators.handset import Arrival
from routing.simulators.simulation import Simulation
from routing.simulators.vonage_account import is_basic_authorized

_PAGE_SIZE = 100
_TERM = re.compile(r"""unique_args\['reference'\]="([^"]*)\"""")
_QUERY = re.compile(rf"\(?{_TERM.pattern}( OR {_TERM.pattern})*\)?")

# What became of a message, in the vendors' words.
_VONAGE = {
    None: ("accepted", "0"),
    Arrival.DELIVERED: ("delivered", "0"),
    Arrival.OFF: ("failed", "2"),
    Arrival.LOST: ("failed", "3"),
}
_SENDGRID = {None: "processed", Arrival.DELIVERED: "delivered"}


class VonageReportsWire:
    """GET /v2/reports/records for outbound SMS within a time."""

    path = "/v2/reports/records"

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def routes(self) -> list[web.RouteDef]:
        """The routes of this API."""
        return [web.get(self.path, self.answer)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The records of a page, oldest first."""
        if not is_basic_authorized(request.headers):
            return _problem(401, "unauthorized", "You did not provide credentials.")
        if status := self.simulation.options.look_up_status:
            return _problem(status, "error", "Simulated trouble.")
        missing = {"account_id", "product", "date_start", "date_end"} - {*request.query}
        if missing:
            return _problem(422, "invalid", f"Missing: {', '.join(sorted(missing))}")
        return web.json_response(self._page(request))

    def _page(self, request: web.Request) -> dict[str, Any]:
        start, end = (
            _moment(request.query[f"date_{each}"]) for each in ("start", "end")
        )
        found = [
            _record(kept)
            for kept in self.simulation.shown("VonageSMS")
            if start <= kept.taken_at < end
        ]
        skipped = int(request.query.get("cursor", "0"))
        shown = found[skipped : skipped + _PAGE_SIZE]
        links = {"self": {"href": str(request.url)}}
        if found[skipped + _PAGE_SIZE :]:
            following = request.url.update_query(cursor=str(skipped + _PAGE_SIZE))
            links["next"] = {"href": str(following)}
        return {
            "_links": links,
            "request_id": str(uuid4()),
            "request_status": "SUCCESS",
            "received_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+0000}",
            "account_id": credentials.VONAGE_API_KEY,
            "product": "SMS",
            "direction": "outbound",
            "items_count": len(shown),
            "records": shown,
        }


class SendGridActivityWire:
    """GET /v3/messages, by our reference."""

    path = "/v3/messages"

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def routes(self) -> list[web.RouteDef]:
        """The routes of this API."""
        return [web.get(self.path, self.answer)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The messages whose unique argument matches the query."""
        expected = f"Bearer {credentials.SENDGRID_API_KEY}"
        if request.headers.get("Authorization") != expected:
            return _errors(401, "authorization required")
        if status := self.simulation.options.look_up_status:
            return _errors(status, "simulated trouble")
        query = request.query.get("query", "")
        if _QUERY.fullmatch(query) is None:
            return _errors(400, "the query cannot be read")
        wanted = {term[1] for term in _TERM.finditer(query)}
        found = [
            _activity(kept)
            for kept in self.simulation.shown("SendGridEmail")
            if kept.message.reference in wanted
        ]
        return web.json_response({"messages": found})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _problem(status: int, kind: str, detail: str) -> web.Response:
    problem = {"type": f"https://developer.nexmo.com/api-errors#{kind}"}
    return web.json_response(problem | {"detail": detail}, status=status)


def _errors(status: int, message: str) -> web.Response:
    return web.json_response({"errors": [{"message": message}]}, status=status)


def _record(kept: Remembered) -> dict[str, Any]:
    message = kept.message
    status, error_code = _VONAGE[kept.arrival]
    return {
        "account_id": credentials.VONAGE_API_KEY,
        "message_id": message.external_message_id,
        "client_ref": message.reference,
        "direction": "outbound",
        "to": message.recipient.removeprefix("+"),
        "network": "12345",
        "date_received": f"{kept.taken_at:%Y-%m-%dT%H:%M:%S+0000}",
        "status": status,
        "error_code": error_code,
        "currency": "EUR",
        "total_price": "0.0333",
    }


def _activity(kept: Remembered) -> dict[str, Any]:
    message = kept.message
    return {
        "from_email": "campaigns@example.com",
        "msg_id": message.external_message_id,
        "subject": message.subject,
        "to_email": message.recipient,
        "status": _SENDGRID.get(kept.arrival, "not_delivered"),
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": f"{kept.taken_at:%Y-%m-%dT%H:%M:%SZ}",
    }
