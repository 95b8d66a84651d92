import time

import pytest


def wait_for(condition, *, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.02)


def test_a_receipt_that_fails_is_sent_again(wires, simulator, receiver):
    receiver.answers.put(503)
    wires.vonage_sms(callback=receiver.url)

    first, second = receiver.take(2)

    assert first.body == second.body
    wait_for(lambda: simulator.state()["receipts"].get("delivered") == 1)
    assert simulator.state()["receipts"]["retried"] == 1


def test_a_receipt_that_is_refused_is_not_sent_again(wires, simulator, receiver):
    receiver.answers.put(403)
    wires.vonage_sms(callback=receiver.url)

    wait_for(lambda: simulator.state()["receipts"].get("refused") == 1)
    assert simulator.state()["receipts"]["pending"] == 0


def test_a_receipt_that_reaches_nobody_is_given_up(wires, simulator):
    wires.vonage_sms(callback="http://127.0.0.1:1/")

    wait_for(lambda: simulator.state()["receipts"].get("given_up") == 1)


@pytest.mark.parametrize("url", ["http://[", "http://a b/"])
def test_a_callback_that_is_no_url_is_given_up(wires, simulator, url):
    wires.vonage_sms(callback=url)

    wait_for(lambda: simulator.state()["receipts"].get("given_up") == 1)


def test_a_receipt_can_come_twice(wires, simulator, receiver):
    simulator.configure(duplicate_receipt_share=1)
    wires.vonage_sms(callback=receiver.url)

    first, second = receiver.take(2)

    assert first.body == second.body


def test_without_receipts_a_message_arrives_at_once(
    wires, simulator, receiver, handset_log
):
    simulator.configure(receipts=False, receipt_delay=60)
    wires.twilio(StatusCallback=receiver.url)

    assert handset_log() == ["accepted +15558675310", "handset +15558675310"]
    assert receiver.calls.empty()


def test_the_same_seed_loses_the_same_messages(wires, simulator, handset_log):
    def arrivals() -> list[str]:
        simulator.reset(truncate_handset_log=True)
        simulator.configure(undelivered_share=0.5, receipts=False)
        for number in range(20):
            wires.twilio(To=f"+155586753{number}")
        return [line for line in handset_log() if line.startswith("handset")]

    first = arrivals()

    assert first == arrivals()
    assert 0 < len(first) < 20
