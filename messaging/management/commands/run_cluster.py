"""manage.py run_cluster: the django-q2 cluster, under a watchdog."""

from __future__ import annotations

import signal
from datetime import timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from messaging.cluster.watchdog import Watchdog
from messaging.queue.hang_guard import HangGuard
from messaging.queue.worker import problem_with_lease
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = (
        "Run the django-q2 cluster, and start it again when it dies or stalls. SIGTERM "
        "or Ctrl-C lets it finish what is in flight, and leaves."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := problem_with_lease():
            raise CommandError(problem)
        patience = timedelta(seconds=settings.QCLUSTER_PATIENCE_SECONDS)
        guard = HangGuard(timedelta(seconds=settings.QUEUE_HANG_SECONDS))
        watchdog = Watchdog(patience=patience, guard=guard)

        def stop(number: int, frame: FrameType | None) -> None:
            watchdog.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        watchdog.run()
