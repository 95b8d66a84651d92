"""The demo's run: start everything, send the campaigns, and check every message."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from rich.console import Console

from marketing_platform.demo.audience import write_emails, write_phones
from marketing_platform.demo.check import check
from marketing_platform.demo.child_process import Child
from marketing_platform.demo.stage import Stage, web_command
from marketing_platform.demo.summary import Summary, summarise
from messaging.audience.recipients import RecipientFile
from messaging.campaign_progress import progress_of
from messaging.campaigns import CampaignText, send_campaign
from messaging.models import CampaignMessage
from messaging.progress_bar import sending_bar
from routing.models import ChannelRoutingConfig, RetryRule
from routing.simulators.client import SimulatorClient
from routing.simulators.handset import read_handset_log
from routing.simulators.process import SimulatorProcess
from routing.simulators.simulation import SimulationOptions
from routing.timer import Timer
from routing.vocabulary import Channel, MessageStatus

LOOK_EVERY = 0.1  # seconds
RECEIPTS_WITHIN = timedelta(seconds=30)
OUTAGE_SECONDS = 5

TEXTS = [
    CampaignText(
        name="Autumn sale by SMS",
        channel=Channel.SMS,
        body="Hi {{first_name}}, 20 % off all boots until Sunday. Reply STOP to end.",
    ),
    CampaignText(
        name="Autumn sale by MMS",
        channel=Channel.MMS,
        body="{{first_name}}, look what came in!",
        media_urls=["https://example.com/boots.jpg"],
    ),
    CampaignText(
        name="Autumn sale by e-mail",
        channel=Channel.EMAIL,
        subject="{{first_name}}, 20 % off all boots",
        body="Hello {{first_name}},\n\nall boots are 20 % off until Sunday.\n",
    ),
]


@dataclass(slots=True)
class Processes:
    """The processes of the demo."""

    simulator: SimulatorProcess
    worker: Child
    web: Child

    def supervise(self) -> None:
        """Restart processes that have died."""
        for child in (self.worker, self.web):
            if not child.is_running:
                child.restart()


def prepare_database() -> None:
    """Create tables and routes, with retries short enough for a demo."""
    call_command("migrate", verbosity=0)
    call_command("loaddata", "default_routes", verbosity=0)
    ChannelRoutingConfig.objects.update(
        initial_retry_delay_seconds=1, max_retry_delay_seconds=5, max_retries=6
    )
    RetryRule.objects.exclude(delays_seconds=[]).update(delays_seconds=[1, 3, 10])


@contextmanager
def running_processes(stage: Stage) -> Iterator[Processes]:
    """Start simulators, cluster and web server; stop them all at the end."""
    with ExitStack() as stack:
        options = SimulationOptions(
            public_url=stage.public_url,
            receipt_delay=0.5,
            undelivered_share=0.02,
            off_share=0.03,
            off_seconds=2.0,
            duplicate_receipt_share=0.05,
            latency=0.2,
            seed=1,
        )
        simulator = stack.enter_context(
            SimulatorProcess(
                options, directory=stage.directory, base_port=stage.simulator_port
            )
        )
        web = _child(stage, "web", web_command(stage.public_url))
        worker = _child(stage, "worker", [sys.executable, _manage_py(), "run_cluster"])
        for child in (web, worker):
            stack.callback(child.stop)
            child.start()
        yield Processes(simulator, worker, web)


def send_all(stage: Stage, *, messages: int, seed: int) -> list[int]:
    """Launch the campaigns, with `messages` recipients in total; returns their ids."""
    rng = Random(seed)  # noqa: S311 - names, not secrets
    shares = {
        Channel.SMS: messages - 2 * (messages // 4),
        Channel.MMS: messages // 4,
        Channel.EMAIL: messages // 4,
    }
    campaigns = []
    for text in TEXTS:
        path = stage.directory / f"{text.channel.name.lower()}.csv"
        write = write_emails if text.channel == Channel.EMAIL else write_phones
        write(path, count=shares[text.channel], rng=rng)
        campaign, _ = send_campaign(
            text,
            RecipientFile(path, channel=text.channel),
            now=timezone.now(),
            on_rejected=lambda rejection: None,
        )
        campaigns.append(campaign.pk)
    return campaigns


def run(processes: Processes, campaign_ids: Sequence[int], console: Console) -> Summary:
    """Watch the campaigns being sent through an outage, and check every message."""
    started = time.monotonic()
    is_outage_over = False
    with sending_bar(console, no_worker="a worker is being started") as show:
        while (progress := progress_of(campaign_ids)).left:
            show(progress)
            # As soon as the first were sent: a fast worker leaves no time for more.
            if not is_outage_over and progress.share_done > 0:
                cause_outage(processes.simulator.client)
                console.print(f"Outage: Twilio is down for {OUTAGE_SECONDS} s.")
                is_outage_over = True
            processes.supervise()
            time.sleep(LOOK_EVERY)
        show(progress)
    _wait_for_receipts(campaign_ids, processes)
    entries = read_handset_log(processes.simulator.handset_log)
    return summarise(
        campaign_ids,
        verdict=check(entries, campaign_ids),
        seconds=time.monotonic() - started,
    )


def cause_outage(simulator: SimulatorClient) -> None:
    """Short faults of all providers but SMTP.

    Twilio refuses connections, for SMS and MMS; meanwhile the second MMS provider is
    unavailable, SendGrid throttles, and Vonage accepts a few SMS but drops the
    connection before it answers.
    """
    simulator.set_fault("TwilioSMS", "refuse", seconds=OUTAGE_SECONDS)
    simulator.set_fault("VonageMMS", "unavailable", seconds=3)
    simulator.set_fault("SendGridEmail", "throttle", retry_after=1, seconds=2)
    simulator.set_fault("VonageSMS", "drop", accepted=True, count=5)


def _wait_for_receipts(campaign_ids: Sequence[int], processes: Processes) -> None:
    """Wait until no receipt is outstanding, except for SMTP, which has none, and no
    message waits for its handset to be on again.
    """
    on_their_way = [MessageStatus.QUEUED, MessageStatus.SENDING, MessageStatus.SENT]
    outstanding = CampaignMessage.objects.filter(
        campaign__in=campaign_ids, status__in=on_their_way
    ).exclude(provider="SMTPEmail", status=MessageStatus.SENT)
    patience = Timer(RECEIPTS_WITHIN)
    while outstanding.exists() and not patience.is_over():
        processes.supervise()
        time.sleep(LOOK_EVERY)


def _child(stage: Stage, name: str, command: Sequence[str]) -> Child:
    return Child(name, command, log=stage.directory / f"{name}.log")


def _manage_py() -> str:
    return str(Path(settings.BASE_DIR) / "manage.py")
