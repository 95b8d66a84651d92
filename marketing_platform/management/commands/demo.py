"""manage.py demo: the whole system at work, on this machine alone."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import time
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from rich.console import Console

from marketing_platform.demo.show import (
    Processes,
    prepare_database,
    run,
    running_processes,
    send_all,
)
from marketing_platform.demo.stage import Stage
from marketing_platform.demo.summary import Summary, print_summary
from routing.terminal import PlainCommand

ADMIN = "admin"


class Command(PlainCommand):
    help = (
        "Send a campaign on every channel through simulated providers and an outage, "
        "and check that no message was lost or sent twice. On a terminal the back "
        "office keeps running afterwards. Exit status 3 if a message was lost, sent "
        "twice or not recorded."
    )

    requires_system_checks: list[str] = []  # it brings its own configuration

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--messages", type=int, default=1200, help="total (default %(default)s)"
        )
        parser.add_argument(
            "--seed", type=int, default=1, help="random seed for the recipients"
        )
        parser.add_argument(
            "--oneshot", action="store_true", help="stop everything at the end"
        )
        parser.add_argument(
            "--database-url",
            default="",
            metavar="URL",
            help="an empty database, such as postgres://...; default: a SQLite file",
        )
        parser.add_argument(
            "--keep", action="store_true", help="keep the database and the logs"
        )
        parser.add_argument(
            "--json", action="store_true", help="print the summary as JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["messages"] < 4:
            raise CommandError("--messages must be at least 4.")
        stage = Stage.present() or _start_over_on(Stage.build(options["database_url"]))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._run(stage, options)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        finally:
            if not options["keep"]:
                shutil.rmtree(stage.directory, ignore_errors=True)

    def _run(self, stage: Stage, options: dict[str, Any]) -> None:
        console = Console(stderr=options["json"])
        console.print(f"Setting up in {stage.directory} ...")
        prepare_database()
        password = _create_admin()
        with running_processes(stage) as processes:
            console.print(
                f"Back office: {stage.public_url}/admin/ (log in as {ADMIN}, password "
                f"{password})",
                soft_wrap=True,
            )
            campaigns = send_all(
                stage, messages=options["messages"], seed=options["seed"]
            )
            summary = run(processes, campaigns, console)
            self._print(summary, options, console)
            if not options["oneshot"] and sys.stdout.isatty():
                _keep_up(processes, console)
        if not summary.verdict.is_clean:
            sys.exit(3)

    def _print(
        self, summary: Summary, options: dict[str, Any], console: Console
    ) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(summary.as_json(), indent=2))
        else:
            print_summary(summary, console)


def _start_over_on(stage: Stage) -> NoReturn:
    """Replace this process by the same command, with the stage's settings."""
    os.execve(  # noqa: S606 - ourselves
        sys.executable, [sys.executable, *sys.argv], stage.environment
    )


def _create_admin() -> str:
    password = secrets.token_urlsafe(9)
    get_user_model().objects.create_superuser(ADMIN, password=password)
    return password


def _keep_up(processes: Processes, console: Console) -> None:
    console.print("The back office keeps running. Ctrl-C stops everything.")
    while True:
        processes.supervise()
        time.sleep(1)
