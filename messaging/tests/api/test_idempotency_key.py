"""The Idempotency-Key header: a repeated request takes effect only once."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging.idempotency import Answer
from messaging.models import Campaign, CampaignMessage
from messaging.tests.scenario import PATIENCE, running
from messaging.tests.test_idempotency import ask

SMS = {"channel": 0, "to": "+14155550101", "body": "Your code is 123"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(api, route):
    """A client that may send, over a route that works."""
    return api("send")


def post(client, body, key="order-1", path="/api/messages"):
    return client.post(path, body, headers={"Idempotency-Key": key})


def test_the_same_request_gets_the_same_answer_and_sends_once(sender):
    first, second = post(sender, SMS), post(sender, SMS)

    assert CampaignMessage.objects.count() == 1
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first["Location"] == second["Location"]
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"


def test_a_request_with_a_key_takes_few_statements(sender):
    """In the test's transaction; the savepoints are transactions otherwise."""
    post(sender, SMS, key="order-0")

    with CaptureQueriesContext(connection) as statements:
        post(sender, SMS)

    is_locked = connection.vendor == "postgresql"  # the key
    assert len(statements) == 15 + is_locked


def test_the_order_of_fields_makes_no_other_request(sender):
    post(sender, SMS)

    again = post(sender, dict(reversed(SMS.items())))

    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/messages", SMS | {"body": "Your code is 124"}),
        ("/api/campaigns", SMS),
    ],
)
def test_another_request_with_the_same_key_is_refused(sender, path, body):
    post(sender, SMS)

    response = post(sender, body, path=path)

    assert response.status_code == 422
    assert "Use a new key for each request" in response.json()["detail"]
    assert CampaignMessage.objects.count() == 1


def test_without_a_key_each_request_counts(sender):
    for _ in range(2):
        assert sender.post("/api/messages", SMS).status_code == 202

    assert CampaignMessage.objects.count() == 2


def test_a_refused_request_may_be_mended_under_its_key(sender):
    assert post(sender, SMS | {"to": "12"}).status_code == 400

    assert post(sender, SMS).status_code == 202


def test_tokens_of_one_user_share_their_keys(api, route):
    assert post(api("send"), SMS).status_code == 202
    assert post(api("send"), SMS)["Idempotency-Replayed"] == "true"
    assert post(api("admin"), SMS).status_code == 202

    assert CampaignMessage.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_request_that_is_being_worked_on_is_to_be_waited_for(
    sender, needs_a_server, django_user_model
):
    has_begun, is_asked = threading.Event(), threading.Event()
    user = django_user_model.objects.get()

    def slowly():
        has_begun.set()
        assert is_asked.wait(PATIENCE)
        return Answer(202, "{}")

    with running(lambda: ask(user, key="order-1", act=slowly)):
        assert has_begun.wait(PATIENCE)
        response = post(sender, SMS)
        is_asked.set()

    assert (response.status_code, response["Retry-After"]) == (409, "1")
    assert not CampaignMessage.objects.exists()


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(sender, key):
    response = post(sender, SMS, key=key)

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_a_campaign_is_begun_once(sender):
    draft = {"name": "Spring", "channel": 0, "body": "Hello"}

    answers = [post(sender, draft, path="/api/campaigns") for _ in range(2)]

    assert [each.status_code for each in answers] == [201, 201]
    assert Campaign.objects.count() == 1
