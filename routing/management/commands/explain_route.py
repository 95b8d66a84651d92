"""manage.py explain_route: which provider a message would go to, and why."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from random import Random
from typing import Any

import phonenumbers
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from routing.explain import Explanation, explain
from routing.planner import Parcel, Planner
from routing.route import Destination
from routing.segments import count_segments
from routing.vocabulary import CampaignKind, Channel


class Command(BaseCommand):
    help = "Say by which route and provider a message would leave now. Sends nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--channel", required=True, help="sms, mms or email")
        parser.add_argument(
            "--to", required=True, help="a number as +49..., or an e-mail address"
        )
        parser.add_argument("--body", default="", help="its length decides the price")
        parser.add_argument(
            "--kind", default="marketing", help="marketing (default) or transactional"
        )
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        explanation = explain(
            _parcel(options),
            planner=Planner(rng=Random()),  # noqa: S311 - no secret
            now=timezone.now(),
        )
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_json(), indent=2))
        else:
            _show(explanation, Console())


def _parcel(options: dict[str, Any]) -> Parcel:
    channel = _member(Channel, options["channel"], "channel")
    to = options["to"].strip()
    country = _country(to) if channel != Channel.EMAIL else _check_email(to)
    return Parcel(
        Destination(
            channel, to, country, _member(CampaignKind, options["kind"], "kind")
        ),
        segments=count_segments(options["body"]) if channel == Channel.SMS else 1,
    )


def _member(terms: Any, name: str, what: str) -> Any:
    try:
        return terms[name.upper()]
    except KeyError:
        known = ", ".join(term.name.lower() for term in terms)
        raise CommandError(f"Unknown {what} {name!r}. Known: {known}.") from None


def _country(number: str) -> str:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise CommandError(f"{number!r} is not a number such as +491511234567.") from (
            None
        )
    return phonenumbers.region_code_for_number(parsed) or ""


def _check_email(address: str) -> str:
    if "@" not in address:
        raise CommandError(f"{address!r} is not an e-mail address.")
    return ""


def _show(explanation: Explanation, console: Console) -> None:
    route = explanation.route
    where = f" ({explanation.country})" if explanation.country else ""
    console.print(f"To {explanation.to}{where}, segments: {explanation.segments}")
    if route:
        scope = ", ".join(
            filter(
                None, [route["country"], route["dial_prefix"], route["campaign_kind"]]
            )
        )
        console.print(
            f"Route {route['id']}: {route['channel']}, {route['strategy']}, priority "
            f"{route['priority']}, for {scope or 'all'}"
        )
        console.print(_candidates(explanation))
    console.print(explanation.why)


def _candidates(explanation: Explanation) -> Table:
    table = Table()
    for column in ("Provider", "Verdict", "Weight", "Price", "Delivery rate"):
        table.add_column(column, overflow="fold")
    for each in explanation.candidates:
        price = f"{each['price']} {each['currency']}" if each["price"] else "unknown"
        score = f"{each['score']:.1%}" if each["score"] is not None else "unknown"
        table.add_row(
            each["provider"], each["verdict"], str(each["weight"]), price, score
        )
    return table
