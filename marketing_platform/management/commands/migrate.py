"""manage.py migrate: Django's own, but waiting for locks without blocking others.

Applies to all migrations, including Django's own and those of other apps: see
marketing_platform/migration_locks.py.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections

from marketing_platform.migration_locks import LockedOut, LockPatience


class Command(migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-patience",
            type=float,
            default=600.0,
            metavar="SECONDS",
            help="PostgreSQL: how long to try to get a lock held by others, in "
            "tries of two seconds. Default: 600.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Each try continues where the last one ended."""
        connection = connections[options["database"]]
        if connection.vendor != "postgresql":
            super().handle(*args, **options)
            return
        seconds = options.pop("lock_patience", 600.0)
        patience = LockPatience(connection, say=self.stderr.write, seconds=seconds)
        try:
            with patience.bounded():
                self._try_until_done(patience, args, options)
        except LockedOut as error:
            raise CommandError(str(error)) from error

    def _try_until_done(
        self, patience: LockPatience, args: Any, options: dict[str, Any]
    ) -> None:
        while True:
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                patience.pause(error)
            else:
                return
