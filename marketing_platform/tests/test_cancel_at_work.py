"""A campaign that is cancelled over the API while workers send it."""

from __future__ import annotations

import json
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from marketing_platform.testing.installation import wait_until
from routing.simulators.handset import read_handset_log
from routing.simulators.process import free_base_port

pytestmark = pytest.mark.long
MESSAGES = 2000


@pytest.fixture
def processes(installation):
    """Starts a command during the test, and ends it afterwards."""
    started = []
    yield lambda *command: started.append(installation.start(*command))
    for process in started:
        process.terminate()
    for process in started:
        process.communicate(timeout=60)


@pytest.fixture
def call(installation, processes):
    """Posts to the API of a separate web server; returns its response."""
    installation.run(
        "shell", "-v0", "-c", "User.objects.create_user('shop', password=None)"
    )
    token = installation.run("issue_token", "shop", "--scope=send").split()[-1]
    port = free_base_port()
    processes("runserver", "--noreload", f"127.0.0.1:{port}")

    def call(path, body=None):
        request = Request(
            f"http://127.0.0.1:{port}/api/{path}",
            data=json.dumps(body or {}).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            },
        )
        with urlopen(request, timeout=60) as response:
            return json.load(response)

    wait_until(lambda: is_listening(port))
    return call


def is_listening(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return True
    except URLError:
        return False


def launched(call):
    """A campaign of many messages that is being sent."""
    draft = {"name": "Sale", "channel": 0, "body": "Hello"}
    campaign = f"campaigns/{call('campaigns', draft)['id']}"
    numbers = [f"+1415{2000000 + number}" for number in range(MESSAGES)]
    for start in range(0, MESSAGES, 1000):
        rows = [{"to": number} for number in numbers[start : start + 1000]]
        added = call(f"{campaign}/recipients", {"recipients": rows})
        assert added == {"accepted": 1000, "rejected": []}
    call(f"{campaign}/launch")
    return campaign


def test_nothing_that_was_queued_is_sent_after_the_answer(
    call, processes, installation, simulator, simulator_process
):
    def taken():
        log = read_handset_log(simulator_process.handset_log)
        return sum(entry.event == "accepted" for entry in log)

    # So slow that most are still queued when the cancellation comes.
    installation.run(
        *("shell", "-v0", "-c"),
        "ProviderThrottle.objects.create(provider='TwilioSMS', rate_per_second=20, "
        "burst=20); ChannelRoutingConfig.objects.update(enable_fallback=False)",
    )
    simulator.configure(latency=0.5)
    campaign = launched(call)
    for _ in range(2):
        processes("process_queue", "--watch")
    wait_until(lambda: taken() > 50)

    answer = call(f"{campaign}/cancel")
    at_answer = taken()

    sent = MESSAGES - answer["withdrawn"]
    assert sent < MESSAGES
    wait_until(lambda: taken() >= sent)
    installation.run("process_queue", "--once")  # in case anything is left
    assert taken() == sent
    assert sent - at_answer <= answer["inFlight"]
