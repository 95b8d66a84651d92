"""Progress bars on a terminal; elsewhere an occasional line without control codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.utils import timezone
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from messaging.audience.recipients import RecipientFile
from messaging.campaign_progress import (
    CampaignProgress,
    progress_of,
)
from messaging.models import WorkerHeartbeat
from messaging.queue.coordination import database_now
from routing.text.untrusted import escaped

LOOK_EVERY = 0.5  # seconds
PRINT_EVERY = 10.0  # seconds, without a terminal
NO_WORKER = "no worker: start `manage.py process_queue --watch`"


@contextmanager
def loading_bar(
    recipients: RecipientFile, *, console: Console
) -> Iterator[Callable[[], None]]:
    """A bar over the bytes of a file; yields the function that advances it."""
    with Progress(
        TextColumn("Loading recipients"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=recipients.size)
        yield lambda: bar.update(task, completed=recipients.bytes_read)


def watch_campaigns(campaign_ids: Sequence[int], *, console: Console) -> None:
    """Show progress until every message has left; Ctrl-C stops only the display."""
    with sending_bar(console) as show:
        try:
            while (progress := progress_of(campaign_ids)).left:
                show(progress)
                time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            console.print("Stopped watching; the campaign goes on.")
            return
        show(progress)
    console.print(f"{describe(progress)}.")


@contextmanager
def sending_bar(
    console: Console, *, no_worker: str = NO_WORKER
) -> Iterator[Callable[[CampaignProgress], None]]:
    """A bar over messages; yields the function that shows new progress.

    `no_worker` is the hint shown if messages wait and no worker is alive.
    """
    if not console.is_terminal:
        yield _lines(console, no_worker)
        return
    with Progress(
        # On a narrow terminal the words wrap, and the figures stay whole.
        BarColumn(bar_width=20, table_column=Column(no_wrap=True)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", markup=False, table_column=Column()),
        console=console,
    ) as bar:
        task = bar.add_task("", total=None)

        def show(progress: CampaignProgress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.total - progress.left,
                description=escaped(
                    f"{describe(progress)}{_hint(progress, no_worker)}"
                ),
            )

        yield show


def _lines(console: Console, no_worker: str) -> Callable[[CampaignProgress], None]:
    printed, printed_at = "", float("-inf")

    def show(progress: CampaignProgress) -> None:
        nonlocal printed, printed_at
        line, now = (
            f"{describe(progress)}{_hint(progress, no_worker)}",
            time.monotonic(),
        )
        if progress.left and line != printed and now - printed_at >= PRINT_EVERY:
            console.print(line, soft_wrap=True)
            printed, printed_at = line, now

    return show


def describe(progress: CampaignProgress) -> str:
    """Messages per status, in words."""
    return ", ".join(
        f"{count} {status.label.lower()}"
        for status, count in sorted(progress.by_status.items())
    )


def _hint(progress: CampaignProgress, no_worker: str) -> str:
    """Why there may be no progress just now."""
    now = database_now()
    if progress.next_due_at and progress.next_due_at > now:
        at = f"{timezone.localtime(progress.next_due_at):%d %b %H:%M:%S}"
        why = f": {progress.next_reason.rstrip('.')}" if progress.next_reason else ""
        return f" (next at {at}{why})"
    if not WorkerHeartbeat.objects.alive(now).exists() and progress.left:
        return f" ({no_worker})"
    return ""
