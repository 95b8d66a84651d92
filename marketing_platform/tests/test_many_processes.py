"""Several worker processes on one database, against one set of providers."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from marketing_platform.testing.installation import wait_until
from routing.simulators.handset import read_handset_log

pytestmark = pytest.mark.long


@pytest.fixture
def installation(installation):
    installation.environment["QUEUE_VERDICT_SECONDS"] = "20"
    return installation


@pytest.fixture
def accepted(simulator_process):
    """What the providers have accepted so far."""

    def read():
        entries = read_handset_log(simulator_process.handset_log)
        return [entry for entry in entries if entry.event == "accepted"]

    return read


@pytest.fixture
def start_workers(installation):
    """Starts worker processes, and ends them afterwards."""
    workers = []

    def start(count):
        workers.extend(
            installation.start("process_queue", "--watch") for _ in range(count)
        )

    yield start
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.communicate(timeout=60)


def send(installation, tmp_path, *, count):
    recipients = tmp_path / "recipients.csv"
    rows = "".join(f"+1415555{number:04}\n" for number in range(count))
    recipients.write_text(f"phone\n{rows}")
    installation.run(
        *("send_campaign", "--channel=sms", "--name=T", "--body=Hi"),
        f"--recipients={recipients}",
    )


def test_four_workers_never_exceed_the_rate_of_a_throttle(
    installation, start_workers, accepted, tmp_path
):
    installation.run(
        *("shell", "-v0", "-c"),
        "ProviderThrottle.objects.create(provider='TwilioSMS', rate_per_second=50, "
        "burst=10); ChannelRoutingConfig.objects.update(enable_fallback=False)",
    )
    send(installation, tmp_path, count=300)

    start_workers(4)
    wait_until(lambda: len(accepted()) == 300)

    times = [entry.at for entry in accepted()]
    for number, start in enumerate(times):
        for seconds in (1, 3):
            end = start + timedelta(seconds=seconds)
            inside = sum(at <= end for at in times[number:])
            # A call takes time between the claim and the provider: messages taken from
            # the throttle up to a second earlier may arrive in the window too, on a
            # busy machine. Four separate throttles would let 200 a second pass.
            assert inside <= 50 * (seconds + 1) + 10
    assert times[-1] - times[0] > timedelta(seconds=5)


def test_traffic_leaves_a_failing_provider_and_comes_back_with_nothing_lost_or_doubled(
    installation, start_workers, accepted, simulator, database, tmp_path
):
    send(installation, tmp_path, count=1000)
    simulator.set_fault("TwilioSMS", "unavailable", share=0.5, count=100)
    simulator.configure(latency=0.1)

    start_workers(2)
    wait_until(lambda: len(accepted()) == 1000)

    recipients = Counter(entry.message.recipient for entry in accepted())
    providers = Counter(entry.message.provider for entry in accepted())
    opened = database.rows("SELECT opened_count FROM routing_providerhealth")
    assert max(recipients.values()) == 1
    assert len(recipients) == 1000
    assert opened[0][0] >= 1
    assert providers["VonageSMS"] > 200
    refused = simulator.state()["providers"]["TwilioSMS"]
    assert sum(refused.values()) < 1000
