"""/api/messages: post, find, cancel, retry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue.worker import Processor
from messaging.vocabulary import SuppressionReason, WorkerKind
from routing.models import ChannelRoutingConfig, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, CampaignKind, Channel, MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SMS = {"channel": 0, "to": "+14155550101", "body": "Your code is 123"}
FAR_OFF = "2126-01-01T09:00:00Z"

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(api, route):
    """A client that may send, over a route that works."""
    return api("send")


def errors(response):
    """(field, detail) of every problem."""
    return [(each["field"], each["detail"]) for each in response.json()["errors"]]


def found(client, **query):
    """The ids that a search finds."""
    response = client.get("/api/messages", query)
    assert response.status_code == 200, response.json()
    return [each["id"] for each in response.json()["results"]]


def test_one_message_is_taken_and_told_where_to_look(sender):
    response = sender.post("/api/messages", SMS)

    message = CampaignMessage.objects.get()
    assert response.status_code == 202
    assert response["Location"] == f"http://testserver/api/messages/{message.pk}"
    answer = response.json()
    assert (answer["id"], answer["to"], answer["country"]) == (
        message.pk,
        "+14155550101",
        "US",
    )
    assert (answer["status"], answer["campaign"], answer["segments"]) == (0, None, 1)


def test_every_field_of_a_message_is_kept(sender):
    times = {"scheduledAt": "2126-01-01T09:00:00Z", "expiresAt": "2126-01-02T09:00:00Z"}
    body = SMS | times | {"to": "07400 123456", "country": "gb", "kind": 1}

    sender.post("/api/messages", body)

    message = CampaignMessage.objects.select_related("campaign").get()
    assert (message.recipient, message.country) == ("+447400123456", "GB")
    assert message.campaign.kind == CampaignKind.TRANSACTIONAL
    assert message.due_at == datetime(2126, 1, 1, 9, tzinfo=UTC)
    assert message.expires_at == datetime(2126, 1, 2, 9, tzinfo=UTC)


def test_many_messages_are_answered_in_their_order(sender):
    numbers = [f"+1415555{number:04}" for number in range(100, 1100)]

    response = sender.post(
        "/api/messages", {"messages": [SMS | {"to": number} for number in numbers]}
    )

    assert response.status_code == 202
    assert [each["to"] for each in response.json()["messages"]] == numbers
    assert CampaignMessage.objects.count() == 1000


def test_a_single_fault_refuses_the_whole_list_and_tells_where_it_is(sender):
    rows = [SMS, SMS | {"to": "12"}, SMS | {"body": " ", "subject": "Hi"}, {"to": "x"}]

    response = sender.post("/api/messages", {"messages": rows})

    assert response.status_code == 400
    assert [field for field, _ in errors(response)] == [
        "messages[1].to",
        "messages[2].body",
        "messages[2].subject",
        "messages[3].channel",
        "messages[3].body",
    ]
    assert not CampaignMessage.objects.exists()


@pytest.mark.parametrize("count", [0, 1001])
def test_a_list_has_one_to_a_thousand_messages(sender, count):
    response = sender.post("/api/messages", {"messages": [SMS] * count})

    assert response.status_code == 400
    assert [field for field, _ in errors(response)] == ["messages"]


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"to": "12"}, "to", "'12' is not a valid phone number with its +country"),
        (
            {"to": "07400 123456"},
            "to",
            "a national number needs its country, in `country`.",
        ),
        ({"country": "XX"}, "to", "'XX' is not a country code"),
        ({"body": ""}, "body", "may not be blank"),
        ({"body": "x" * 1601}, "body", "SMS allows 1600"),
        ({"body": 7}, "body", "a text in quotes"),
        ({"body": "Hi {{name}}"}, "body", "uses {{name}}, but nothing fills it"),
        ({"subject": "Hi"}, "subject", "SMS has no subject"),
        ({"mediaUrls": ["https://e.com/a"]}, "mediaUrls", "SMS carries no media"),
        ({"mediaUrls": "x"}, "mediaUrls", "Expected a list"),
        ({"channel": 1}, "mediaUrls", "needs at least one media URL"),
        ({"channel": 1, "mediaUrls": ["http://e.com/a"]}, "mediaUrls", "https"),
        ({"channel": 2, "to": "a@b.de"}, "subject", "An e-mail needs a subject"),
        ({"channel": 2, "subject": "a\r\nb", "to": "a@b.de"}, "subject", "one line"),
        ({"channel": 7}, "channel", "0 (SMS), 1 (MMS), 2 (Email)"),
        ({"kind": 7}, "kind", "0 (Marketing), 1 (Transactional)"),
        ({"scheduledAt": "2020-01-01T00:00:00Z"}, "scheduledAt", "is in the past"),
        ({"scheduledAt": "soon"}, "scheduledAt", "wrong format"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "not after the time"),
        ({"campaign": 1}, "campaign", "Unknown. Allowed: body, channel"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_field(sender, change, field, says):
    response = sender.post("/api/messages", SMS | change)

    assert response.status_code == 400
    [(named, detail)] = errors(response)
    assert named == field
    assert says in detail
    assert not CampaignMessage.objects.exists()


@pytest.mark.parametrize("body", [[], [SMS], "x", 7, None])
def test_a_body_that_is_no_object_is_refused(sender, body):
    assert sender.post("/api/messages", body).status_code == 400


def test_a_channel_without_a_route_is_a_conflict(sender):
    ChannelRoutingConfig.objects.update(is_active=False)

    response = sender.post("/api/messages", SMS)

    assert response.status_code == 409
    assert "no active route for SMS" in response.json()["detail"]


def test_a_suppressed_recipient_is_no_error_but_visible(sender):
    Suppression.objects.create(address=SMS["to"], reason=SuppressionReason.OPTED_OUT)
    posted = sender.post("/api/messages", SMS).json()

    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()

    message = sender.get(f"/api/messages/{posted['id']}").json()
    assert message["status"] == MessageStatus.SUPPRESSED
    assert message["statusReason"] == "The address is suppressed."


def test_a_message_shows_its_text_and_its_costs(api):
    message = MessageFactory(campaign__body="Hello all")
    for number in (1, 2):
        MessageDeliveryAttempt.objects.create(
            message=message,
            attempt_number=number,
            channel=Channel.SMS,
            provider="TwilioSMS",
            attempted_at=NOW,
            outcome=AttemptOutcome.REJECTED,
            cost=Decimal("0.0075"),
            currency="USD",
        )

    shown = api("read").get(f"/api/messages/{message.pk}").json()

    assert (shown["body"], shown["subject"], shown["mediaUrls"]) == (
        "Hello all",
        "",
        [],
    )
    assert shown["costs"] == [{"amount": "0.015000", "currency": "USD"}]
    assert shown["campaign"] == message.campaign_id


def test_an_unknown_message_is_not_found(api):
    for key in (0, 10**30):
        assert api("read").get(f"/api/messages/{key}").status_code == 404


def test_who_asks_for_a_message_that_is_not_there_is_told_its_id(api):
    answer = api("read").get("/api/messages/4711")

    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is nothing with the id 4711."


def test_messages_are_found_by_what_they_are(api):
    campaign = CampaignFactory(channel=Channel.EMAIL)
    other = MessageFactory(recipient="+14155550199")
    wanted = MessageFactory(
        campaign=campaign,
        recipient="ann@example.com",
        status=MessageStatus.FAILED,
        provider="SendGridEmail",
        unknown_since=NOW,
    )
    reader = api("read")

    for query in [
        {"channel": 2},
        {"status": 4},
        {"campaign": campaign.pk},
        {"to": "Ann@Exam\u00adple.com."},
        {"provider": "SendGridEmail"},
        {"isOutcomeUnknown": "true"},
    ]:
        assert found(reader, **query) == [wanted.pk], query
    assert found(reader, to="14155550199") == [other.pk]
    assert found(reader) == [wanted.pk, other.pk]
    assert found(reader, ordering="id") == [other.pk, wanted.pk]


def test_messages_are_found_by_when_they_were_made(api):
    message = MessageFactory()
    before, after = message.created_at, message.created_at + timedelta(seconds=1)
    reader = api("read")

    assert found(reader, createdAfter=before.isoformat()) == [message.pk]
    assert found(reader, createdAfter=after.isoformat()) == []
    assert found(reader, createdBefore=after.isoformat()) == [message.pk]
    assert found(reader, createdBefore=before.isoformat()) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"recipient": "x"}, "recipient"),
        ({"status": "queued"}, "status"),
        ({"campaign": "1.5"}, "campaign"),
        ({"createdAfter": "yesterday"}, "createdAfter"),
        ({"createdBefore": "9999-12-31T23:59:59-14:00"}, "createdBefore"),
        ({"campaign": 10**30}, "campaign"),
        ({"ordering": "body"}, "ordering"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(api, query, field):
    response = api("read").get("/api/messages", query)

    assert response.status_code == 400
    assert [each for each, _ in errors(response)] == [field]


def test_a_long_list_is_walked_page_by_page(api, django_assert_max_num_queries):
    made = [message.pk for message in MessageFactory.create_batch(5)]
    reader = api("read")

    with django_assert_max_num_queries(9):
        first = reader.get("/api/messages", {"pageSize": 3}).json()
    second = reader.get(first["next"]).json()

    ids = [each["id"] for each in first["results"] + second["results"]]
    assert ids == made[::-1]
    assert second["next"] is None


def test_a_message_that_waits_is_cancelled_and_then_retried(sender):
    pk = sender.post("/api/messages", SMS).json()["id"]

    cancelled = sender.post(f"/api/messages/{pk}/cancel")
    again = sender.post(f"/api/messages/{pk}/cancel")
    retried = sender.post(f"/api/messages/{pk}/retry", {})

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, 6)
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "The message is cancelled: there is nothing to cancel.",
    )
    assert (retried.status_code, retried.json()["status"]) == (200, 0)


def test_a_message_that_may_have_been_sent_is_not_retried(sender):
    message = MessageFactory(status=MessageStatus.FAILED, unknown_since=NOW)
    MessageDeliveryAttempt.objects.create(
        message=message,
        attempt_number=1,
        channel=Channel.SMS,
        provider="TwilioSMS",
        attempted_at=NOW,
        outcome=AttemptOutcome.UNKNOWN,
    )

    response = sender.post(f"/api/messages/{message.pk}/retry", {})

    assert response.status_code == 409
    assert "might get it twice" in response.json()["detail"]


def test_an_expired_message_is_retried_with_a_new_time(sender):
    message = MessageFactory(status=MessageStatus.EXPIRED, expires_at=NOW.replace(2025))
    path = f"/api/messages/{message.pk}/retry"

    assert sender.post(path).status_code == 409
    assert sender.post(path, {"expiresAt": "2020-01-01T00:00:00Z"}).status_code == 400
    assert sender.post(path, {"expiresAt": FAR_OFF}).json()["expiresAt"] == FAR_OFF
