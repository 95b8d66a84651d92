"""Requests to the API that are far too large."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from marketing_platform.testing.families import children

ROW = {"channel": 0, "to": "+14155550000", "body": "Hi"}
MMS = {"channel": 1, "to": "+14155550000", "body": "Look", "mediaUrls": []}
MEDIA = [f"https://example.com/{number}.jpg" for number in range(20)]
REQUESTS = {
    "a body of a megabyte": (ROW | {"body": "x" * 1_000_000}, {}, {400, 413}),
    "ten thousand messages": ({"messages": [ROW] * 10_000}, {}, {400}),
    "a header of 64 KB": (ROW, {"X-Long": "x" * 65_536}, {400, 431}),
    "twenty media": (MMS | {"mediaUrls": MEDIA}, {}, {400}),
}


@pytest.fixture
def scenario(make_scenario):
    return make_scenario(count=1)


@pytest.fixture
def token(scenario):
    run = scenario.environment.installation.run
    run("createsuperuser", "--noinput", "--username=ann", "--email=a@example.com")
    return run("issue_token", "ann", "--scope=send").split()[-1]


def post(scenario, token, body, headers):
    """The status of the API's response."""
    return urllib3.request(
        "POST",
        f"{scenario.environment.public_url}/api/messages",
        body=json.dumps(body),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **headers,
        },
        retries=False,
    ).status


def peak_megabytes(pid):
    """The peak memory of a process; 0 if it has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    return 0


@pytest.mark.faults(
    row="28",
    done="posted to the API: " + ", ".join(REQUESTS),
    holds="refused, nothing is written, the web server stays below 300 MB, and "
    "messages queued before are sent",
)
def test_requests_that_are_too_large(scenario, token, put_on_record):
    before = scenario.count("messaging_campaignmessage", "1 = 1")

    answers = {
        name: post(scenario, token, body, headers)
        for name, (body, headers, _) in REQUESTS.items()
    }

    server = scenario.environment.web.group
    peak = max(peak_megabytes(pid) for pid in [server, *children(server)])
    assert scenario.count("messaging_campaignmessage", "1 = 1") == before
    scenario.start()
    recovery = scenario.recover()
    verdict = scenario.verdict()
    put_on_record(verdict, recovery, web_megabytes=round(peak))
    assert verdict.is_clean
    for name, (_, _, allowed) in REQUESTS.items():
        assert answers[name] in allowed, name
    assert peak < 300
