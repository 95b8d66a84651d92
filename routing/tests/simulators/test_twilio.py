import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from routing.simulators import credentials
from routing.simulators.twilio_store import TwilioMessage, TwilioStore


def test_a_message_is_queued_with_the_whole_resource(wires):
    response = wires.twilio(Body="x" * 161)

    message = response.json()
    assert response.status == 201
    assert (message["status"], message["num_segments"]) == ("queued", "2")
    assert (message["price"], message["price_unit"]) == (None, "USD")
    assert message["sid"].startswith("SM")


def test_a_message_is_answered_as_queued_even_if_it_arrives_at_once(wires, simulator):
    simulator.configure(receipts=False)

    assert wires.twilio().json()["status"] == "queued"


def test_media_make_an_mms(wires, simulator):
    urls = ["https://example.com/a.png", "https://example.com/b.png"]
    message = wires.twilio(MediaUrl=urls).json()

    assert (message["sid"][:2], message["num_media"]) == ("MM", "2")
    assert simulator.state()["providers"]["TwilioMMS"]["accepted"] == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": "12345"}, 21211),
        ({"To": None}, 21604),
        ({"From": None}, 21603),
        ({"Body": None}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"MediaUrl": ["https://example.com/a.png"] * 11}, 21623),
        ({"StatusCallback": "nowhere"}, 21609),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
    ],
)
def test_a_bad_request_gets_twilios_own_error(wires, changes, code):
    response = wires.twilio(**changes)

    assert response.status == 400
    assert response.json()["code"] == code
    assert response.json()["more_info"].endswith(str(code))


def test_wrong_credentials_are_refused(wires):
    response = wires.twilio(auth={"Authorization": "Basic eDp5"})

    assert (response.status, response.json()["code"]) == (401, 20003)


def test_receipts_say_sent_and_then_delivered_and_are_signed(wires, receiver):
    url = f"{receiver.url}/webhooks/TwilioSMS/?reference=m1a1"
    sid = wires.twilio(StatusCallback=url).json()["sid"]

    calls = receiver.take(2)

    assert [call.form()["MessageStatus"] for call in calls] == ["sent", "delivered"]
    assert {call.form()["MessageSid"] for call in calls} == {sid}
    for call in calls:
        signed = url + "".join(k + v for k, v in sorted(call.form().items()))
        token = credentials.TWILIO_AUTH_TOKEN.encode()
        digest = hmac.new(token, signed.encode(), hashlib.sha1).digest()
        assert call.headers["X-Twilio-Signature"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("options", "code"),
    [({"undelivered_share": 1}, "30005"), ({"off_share": 1}, "30003")],
)
def test_an_undelivered_message_says_why(
    wires, receiver, simulator, handset_log, options, code
):
    simulator.configure(**options)
    wires.twilio(StatusCallback=receiver.url)

    final = receiver.take(2)[1].form()

    assert final["MessageStatus"] == "undelivered"
    assert final["ErrorCode"] == code
    assert handset_log() == ["accepted +15558675310"]


def test_a_handset_that_was_off_is_on_after_its_time(wires, receiver, simulator):
    simulator.configure(off_share=1, off_seconds=0.3)
    ends = []
    while "delivered" not in ends:
        wires.twilio(StatusCallback=receiver.url)
        ends.append(receiver.take(2)[1].form()["MessageStatus"])

    assert ends[0] == "undelivered"


def test_a_message_is_found_by_its_sid(wires, receiver):
    sid = wires.twilio(StatusCallback=receiver.url).json()["sid"]
    receiver.take(2)

    message = wires.get_twilio(f"/Messages/{sid}.json").json()

    assert (message["sid"], message["status"]) == (sid, "delivered")
    assert (message["price"], message["date_sent"] is None) == ("-0.0079", False)


def test_an_unknown_sid_is_not_found(wires):
    response = wires.get_twilio(f"/Messages/SM{'0' * 32}.json")

    assert (response.status, response.json()["code"]) == (404, 20404)


def test_messages_are_listed_newest_first_by_recipient_and_page(wires):
    for body in ("one", "two", "three"):
        wires.twilio(Body=body)
    wires.twilio(To="+15558675311")

    page = wires.get_twilio("/Messages.json?To=%2B15558675310&PageSize=2").json()

    assert [message["body"] for message in page["messages"]] == ["three", "two"]
    assert "Page=1" in page["next_page_uri"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("From=%2B15005550006", 1),
        ("From=%2B19999999999", 0),
        ("DateSent%3E=2020-01-01", 1),
        ("DateSent%3C=2020-01-01T00:00:00Z", 0),
        ("DateSent=2020-01-01", 0),
    ],
)
def test_messages_are_filtered(wires, receiver, query, found):
    wires.twilio(StatusCallback=receiver.url)
    receiver.take(2)

    page = wires.get_twilio(f"/Messages.json?{query}").json()

    assert len(page["messages"]) == found


def test_a_message_not_sent_yet_has_no_date_to_be_found_by(wires, simulator):
    simulator.configure(receipt_delay=60)
    wires.twilio()

    assert len(wires.get_twilio("/Messages.json").json()["messages"]) == 1
    page = wires.get_twilio("/Messages.json?DateSent%3E=2020-01-01").json()
    assert page["messages"] == []


def test_a_filter_that_cannot_be_read_is_refused(wires):
    assert wires.get_twilio("/Messages.json?DateSent=soon").status == 400


def test_the_store_drops_the_oldest_message_when_full():
    store = TwilioStore(capacity=2)
    for number in range(3):
        store.add(
            TwilioMessage(
                sid=f"SM{number}",
                recipient=f"+1555000000{number}",
                sender="+1",
                body="",
                segments=1,
                media_count=0,
                created_at=datetime(2026, 11, 24, tzinfo=UTC),
            )
        )

    with pytest.raises(KeyError):
        store.find("SM0")
    later = datetime(2026, 11, 25, tzinfo=UTC)
    assert [m["sid"] for m in store.page({}, "", until=later)["messages"]] == [
        "SM2",
        "SM1",
    ]
    assert store.page({"To": "+15550000000"}, "", until=later)["messages"] == []
