"""The progress bar of a campaign's messages."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.utils import timezone
from rich.console import Console

from messaging.campaign_progress import CampaignProgress
from messaging.progress_bar import sending_bar
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.django_db


def test_who_starts_workers_by_himself_is_not_told_to_start_one():
    console = Console(file=StringIO())

    with sending_bar(console, no_worker="it is being started") as show:
        show(CampaignProgress({MessageStatus.QUEUED: 2}, None))

    assert console.file.getvalue() == "2 queued (it is being started)\n"


def test_it_says_until_when_all_wait_and_why():
    console = Console(file=StringIO(), width=200)
    morning = timezone.now() + timedelta(hours=8)
    reason = "Quiet hours until 08:00 in Europe/Berlin."

    with sending_bar(console) as show:
        show(CampaignProgress({MessageStatus.QUEUED: 2}, morning, reason))

    shown = console.file.getvalue()
    assert shown.startswith("2 queued (next at ")
    assert shown.endswith(": Quiet hours until 08:00 in Europe/Berlin)\n")


def test_a_narrow_terminal_cuts_off_no_figure():
    terminal = Console(file=StringIO(), force_terminal=True, width=80)
    by_status = dict.fromkeys(MessageStatus, 1051)
    progress = CampaignProgress(by_status, timezone.now() + timedelta(hours=1))

    with sending_bar(terminal) as show:
        show(progress)

    shown = terminal.file.getvalue()
    assert f"{7 * 1051}/{9 * 1051}" in shown
    assert "…" not in shown
    assert "1051 expired" in shown
