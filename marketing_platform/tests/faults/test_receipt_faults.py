"""Receipts that come many times, early, out of order, or forged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
import urllib3

from marketing_platform.testing.installation import wait_until
from routing.rules.tally import status_counts
from routing.simulators import twilio
from routing.vocabulary import MessageStatus

THREADS = 8
TIMES = 25  # per thread
APPLYING = ["before_apply", "before_apply_commit", "after_apply_commit"]
[DELIVERED] = status_counts(MessageStatus.DELIVERED)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def sent_scenario(make_scenario):
    """Twenty messages that Twilio accepted, without receipts."""
    scenario = make_scenario(count=20)
    scenario.simulator.configure(receipts=False)
    scenario.start()
    scenario.recover()
    return scenario


def post(scenario, entry, status, *, signature=None, body=None):
    """The answer to Twilio's receipt for a message of the handset log."""
    path = f"/webhooks/TwilioSMS/?reference={entry.message.reference}"
    url = scenario.environment.public_url + path
    sid = entry.message.external_message_id
    fields = {"MessageSid": sid, "MessageStatus": status, "To": entry.message.recipient}
    signed = twilio.sign(url, fields) if signature is None else signature
    return urllib3.request(
        "POST",
        url,
        body=body or urlencode(fields),
        headers={**FORM, "X-Twilio-Signature": signed},
        retries=False,
    ).status


@pytest.mark.faults(
    row="21",
    done=f"the same receipt {THREADS * TIMES} times, from {THREADS} threads at once",
    holds="it counts once",
)
def test_a_receipt_that_comes_many_times(sent_scenario, put_on_record):
    entry = sent_scenario.accepted()[0]

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(
            threads.map(
                lambda _: post(sent_scenario, entry, "delivered"),
                range(THREADS * TIMES),
            )
        )

    sent_scenario.wait_until_applied()
    receipts = sent_scenario.count("routing_deliveryreceipt", "1 = 1")
    put_on_record(sent_scenario.verdict(), receipts_kept=receipts)
    assert set(answers) == {204}
    assert receipts == 1
    assert sent_scenario.messages("status = 3") == 1
    assert sent_scenario.count("routing_deliveryquality", "successes > 1.5") == 0


@pytest.mark.faults(
    row="22",
    done="each receipt arrives before its call is answered",
    holds="the worker's result does not override it",
)
def test_receipts_that_come_before_the_answer(make_scenario, put_on_record):
    scenario = make_scenario(count=30)
    scenario.simulator.configure(receipt_delay=0.0)
    scenario.simulator.set_fault("TwilioSMS", "slow", delay=0.5)

    scenario.start()
    recovery = scenario.recover()
    wait_until(lambda: scenario.attempts("external_message_id <> ''") == 30)

    verdict = scenario.verdict()
    put_on_record(verdict, recovery)
    assert verdict.is_clean
    assert scenario.messages("status = 3") == 30


@pytest.mark.faults(
    row="22b",
    done="receipts out of order: delivered, then sent, then queued",
    holds="the status does not go back",
)
def test_receipts_out_of_order(sent_scenario, put_on_record):
    for entry in sent_scenario.accepted():
        for status in ("delivered", "sent", "queued"):
            assert post(sent_scenario, entry, status) == 204

    sent_scenario.wait_until_applied()
    put_on_record(sent_scenario.verdict())
    assert sent_scenario.messages("status = 3") == 20


@pytest.mark.faults(
    row="23",
    done="receipts without a signature, with that of another text, for another "
    "provider, of 10 MB, and of unreadable bytes",
    holds="refused, and nothing is written",
)
def test_forged_receipts(sent_scenario, put_on_record):
    entry = sent_scenario.accepted()[0]
    forgeries = {
        403: [
            {"signature": ""},
            {"signature": "c2lnbmF0dXJl"},
            {"signature": twilio.sign("https://elsewhere.example/", {})},
            {"body": b"\x00\xff" * 100},
        ],
        413: [{"body": b"x" * 10_000_000}],
    }

    for answer, calls in forgeries.items():
        for wishes in calls:
            assert post(sent_scenario, entry, "delivered", **wishes) == answer

    sent_scenario.wait_until_applied()
    receipts = sent_scenario.count("routing_deliveryreceipt", "1 = 1")
    put_on_record(sent_scenario.verdict(), receipts_kept=receipts)
    assert receipts == 0
    assert sent_scenario.messages("status = 2") == 20


@pytest.mark.faults(
    row="23b",
    done="kill -9 of workers at every step of applying receipts, and of the web "
    "server, while each receipt arrives twice",
    holds="every acknowledged receipt is applied, once",
)
def test_killed_while_receipts_come_and_are_applied(make_scenario, put_on_record):
    scenario = make_scenario(count=90)
    scenario.simulator.configure(duplicate_receipt_share=1, receipt_delay=0.2)

    for point in APPLYING:
        (doomed,) = scenario.start(crash=f"{point}:1")
        scenario.environment.restart_web()
        scenario.wait_for_death(doomed)
    scenario.start()
    recovery = scenario.recover()

    verdict = scenario.verdict()
    put_on_record(verdict, recovery, kills=2 * len(APPLYING))
    given_up = scenario.simulator.state()["receipts"].get("given_up", 0)
    assert verdict.is_clean
    assert scenario.messages("status = 3") >= 90 - given_up
    assert scenario.count("routing_waitingreceipt", "1 = 1") == 0
    assert _confirmed_by_statistics(scenario) == scenario.messages("status = 3")


def _confirmed_by_statistics(scenario):
    """How many messages the statistics count as delivered."""
    entries = scenario.database.rows("SELECT tally FROM routing_statisticsentry")
    tallies = [json.loads(t) if isinstance(t, str) else t for (t,) in entries]
    return sum(each.get(DELIVERED, 0) for each in tallies)
