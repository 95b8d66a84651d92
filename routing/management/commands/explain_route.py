"""manage.py explain_route: which provider a message would go to now, and why."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from random import Random
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from routing.decision.explain import (
    Explanation,
    UnusableAddress,
    explain,
    rate_in_words,
    request_to,
    retries_in_words,
    sample,
)
from routing.decision.planner import Planner
from routing.decision.request import RoutingRequest
from routing.terminal import PlainCommand, PlainConsole
from routing.vocabulary import CampaignKind, Channel

COLUMNS = (
    "Provider",
    "Verdict",
    "Weight",
    "Price",
    "Delivery rate",
    "State",
    "Throttle",
)


class Command(PlainCommand):
    help = "Show which route and provider a message would take now. Sends nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--channel", required=True, help="sms, mms or email")
        parser.add_argument(
            "--to", required=True, help="a number such as +49..., or an e-mail address"
        )
        parser.add_argument("--body", default="", help="its length decides the price")
        parser.add_argument(
            "--media",
            action="append",
            default=[],
            metavar="URL",
            help="for an MMS; may be repeated",
        )
        parser.add_argument(
            "--kind", default="marketing", help="marketing (default) or transactional"
        )
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        routing_request = _request_from(options)
        explanation = explain(
            routing_request,
            planner=Planner(rng=Random()),  # noqa: S311 - no secret
            now=timezone.now(),
            message=sample(
                routing_request, body=options["body"], media_urls=options["media"]
            ),
        )
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_json(), indent=2))
        else:
            _show(explanation, PlainConsole())


def _request_from(options: dict[str, Any]) -> RoutingRequest:
    try:
        return request_to(
            channel=_member(Channel, options["channel"], "channel"),
            to=options["to"],
            body=options["body"],
            kind=_member(CampaignKind, options["kind"], "kind"),
        )
    except UnusableAddress as error:
        raise CommandError(str(error)) from None


def _member(terms: Any, name: str, what: str) -> Any:
    try:
        return terms[name.upper()]
    except KeyError:
        known = ", ".join(term.name.lower() for term in terms)
        raise CommandError(f"Unknown {what} {name!r}. Known: {known}.") from None


def _show(explanation: Explanation, console: Console) -> None:
    route = explanation.route
    where = f" ({explanation.country})" if explanation.country else ""
    console.print(f"To {explanation.to}{where}, segments: {explanation.segments}")
    if route:
        console.print(
            f"Route {route['id']}: {route['channel']}, {route['strategy']}, priority "
            f"{route['priority']}, for {route['scope']}"
        )
        console.print(_candidates(explanation))
    console.print(explanation.why)
    if explanation.retries:
        console.print(f"Tried again after {retries_in_words(explanation)}")


def _candidates(explanation: Explanation) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column == COLUMNS[0])
    for each in explanation.candidates:
        price = f"{each['price']} {each['currency']}" if each["price"] else "unknown"
        table.add_row(
            each["provider"],
            each["verdict"],
            str(each["weight"]),
            price,
            rate_in_words(each),
            each["breaker"],
            each["throttle"],
        )
    return table
