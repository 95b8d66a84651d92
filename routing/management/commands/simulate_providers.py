"""manage.py simulate_providers: every provider, on this machine, reaching no one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from routing.simulators.listener import PortTaken
from routing.simulators.server import run_simulators
from routing.simulators.simulation import SimulationOptions
from routing.terminal import PlainCommand

DEFAULT_PORT = 9900


class Command(PlainCommand):
    help = (
        "Simulate Twilio, Vonage, SendGrid and an SMTP server on the loopback "
        "interface. Point the application at them with PROVIDER_SIMULATOR_PORT."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=int,
            default=settings.PROVIDER_SIMULATOR_PORT or DEFAULT_PORT,
            metavar="BASE",
            help="control port; the vendors listen on the next four "
            "(PROVIDER_SIMULATOR_PORT, else 9900)",
        )
        parser.add_argument(
            "--handset-log",
            type=Path,
            metavar="FILE",
            help="append messages accepted and messages delivered, as JSON lines",
        )
        parser.add_argument(
            "--public-url",
            default=settings.PUBLIC_URL,
            metavar="URL",
            help="where SendGrid posts its events (%(default)s)",
        )
        self._add_behaviour(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT, which end it with exit code 0."""
        simulation_options = _simulation_options(options)
        try:
            simulation_options.check()
            asyncio.run(
                run_simulators(
                    base_port=options["port"],
                    options=simulation_options,
                    handset_log=options["handset_log"],
                    with_parent=options["with_parent"],
                    on_ready=self._say_ready,
                )
            )
        except (PortTaken, TypeError, OSError) as error:
            raise CommandError(str(error)) from error

    def _add_behaviour(self, parser: CommandParser) -> None:
        for name, metavar, default, text in (
            ("receipt-delay", "SECONDS", 1.0, "time from acceptance to the handset"),
            ("undelivered-share", "P", 0.0, "share of messages lost for good"),
            ("off-share", "P", 0.0, "share of handsets that are off at first"),
            ("off-seconds", "SECONDS", 5.0, "how long they are off"),
            ("duplicate-receipt-share", "P", 0.0, "share of receipts sent twice"),
            ("latency", "SECONDS", 0.0, "time a provider takes to answer"),
        ):
            parser.add_argument(
                f"--{name}",
                type=float,
                default=default,
                metavar=metavar,
                help=f"{text} (%(default)s)",
            )
        parser.add_argument(
            "--no-receipts", action="store_true", help="send no receipts"
        )
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="end when the process that started this one has ended",
        )
        parser.add_argument("--seed", type=int, help="random seed, to repeat a run")

    def _say_ready(self, addresses: dict[str, str]) -> None:
        where = " ".join(f"{name}={address}" for name, address in addresses.items())
        self.stdout.write(f"ready {where}")
        self.stdout.flush()


def _simulation_options(options: dict[str, Any]) -> SimulationOptions:
    return SimulationOptions(
        public_url=options["public_url"].rstrip("/"),
        receipt_delay=options["receipt_delay"],
        undelivered_share=options["undelivered_share"],
        off_share=options["off_share"],
        off_seconds=options["off_seconds"],
        duplicate_receipt_share=options["duplicate_receipt_share"],
        latency=options["latency"],
        receipts=not options["no_receipts"],
        seed=options["seed"],
    )
