"""A provider is paused while real worker processes send."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from marketing_platform.testing.installation import wait_until
from routing.simulators.handset import read_handset_log
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.long
COUNT = 600
A_SECOND = timedelta(seconds=1)


@pytest.fixture
def accepted(simulator_process):
    """What the providers have accepted so far: (time, provider, recipient)."""

    def read():
        entries = read_handset_log(simulator_process.handset_log)
        return [
            (entry.at, entry.message.provider, entry.message.recipient)
            for entry in entries
            if entry.event == "accepted"
        ]

    return read


@pytest.fixture
def providers(installation):
    """Runs manage.py providers; returns when it began and ended."""

    def run(act, name):
        began = timezone.now()
        installation.run("providers", act, name, "--reason", "contract ended")
        return began, timezone.now()

    return run


@pytest.fixture
def workers(installation, tmp_path):
    """Two workers, with a campaign that takes them a while."""
    recipients = tmp_path / "recipients.csv"
    rows = "".join(f"+1415555{number:04}\n" for number in range(COUNT))
    recipients.write_text(f"phone\n{rows}")
    installation.run(
        *("shell", "-v0", "-c"),
        "[ProviderThrottle.objects.create(provider=name, rate_per_second=50) "
        "for name in ('TwilioSMS', 'VonageSMS')]",
    )
    installation.run(
        *("send_campaign", "--channel=sms", "--name=T", "--body=Hi"),
        f"--recipients={recipients}",
    )
    workers = [installation.start("process_queue", "--watch") for _ in range(2)]
    yield workers
    for each in workers:
        each.terminate()
    for each in workers:
        each.communicate(timeout=60)


def test_traffic_moves_within_a_second_waits_where_there_is_none_and_comes_back(
    workers, providers, accepted, database
):
    wait_until(lambda: len(accepted()) >= 50)
    _, paused_at = providers("pause", "TwilioSMS")
    wait_until(lambda: by("VonageSMS", accepted(), since=paused_at) >= 50)
    holding_at, held_at = providers("pause", "VonageSMS")
    wait_until(lambda: timezone.now() > held_at + 2 * A_SECOND)
    waiting = len(accepted())
    resuming_at, resumed_at = providers("resume", "TwilioSMS")
    wait_until(lambda: by("TwilioSMS", accepted(), since=resuming_at))
    first_back = min(at for at, *_ in accepted() if at > resuming_at)
    providers("resume", "VonageSMS")
    wait_until(lambda: len(accepted()) == COUNT)

    assert names(accepted(), paused_at + A_SECOND, holding_at) == {"VonageSMS"}
    assert names(accepted(), held_at + A_SECOND, resuming_at) == set()
    assert waiting < COUNT
    assert first_back - resumed_at < 2 * A_SECOND
    assert max(Counter(to for *_, to in accepted()).values()) == 1
    wait_until(lambda: not unsettled(database))
    assert database.rows("SELECT max(retry_count) FROM messaging_campaignmessage") == [
        (0,)
    ]
    assert database.rows("SELECT count(*) FROM routing_providerhealth") == [(0,)]


def names(entries, since, until):
    """The providers that accepted messages between these times."""
    return {name for at, name, _ in entries if since < at < until}


def by(provider, entries, *, since):
    """How many messages it has accepted since."""
    return sum(name == provider and at > since for at, name, _ in entries)


def unsettled(database):
    """The messages that are neither sent nor delivered."""
    done = f"{MessageStatus.SENT.value}, {MessageStatus.DELIVERED.value}"
    query = "SELECT count(*) FROM messaging_campaignmessage WHERE status NOT IN"
    return database.rows(f"{query} ({done})")[0][0]
