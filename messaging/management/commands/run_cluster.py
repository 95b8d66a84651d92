"""manage.py run_cluster: the django-q2 cluster, under a watchdog."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from messaging.cluster.broker import patience
from messaging.cluster.watchdog import Watchdog, watched_cluster
from routing.terminal import PlainCommand


class Command(PlainCommand):
    help = (
        "Run the django-q2 cluster (`qcluster`), and restart it if it dies or stalls. "
        "On SIGTERM or Ctrl-C it finishes what is in flight, and exits."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        watchdog = Watchdog(watched_cluster(), patience=patience())

        def stop(number: int, frame: FrameType | None) -> None:
            watchdog.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        watchdog.run()
