"""No cache stores personal data."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db
PERSONAL = [
    "/",
    "/admin/login/",
    "/admin/messaging/campaignmessage/",
    "/api/messages",
    "/api/nothing",
    "/metrics",
    "/nothing",
    "/unsubscribe/forged/",
    "/webhooks/TwilioSMS/",
]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", PERSONAL)
def test_answers_about_people_are_not_stored(client, admin_client, method, address):
    for caller in (client, admin_client):
        answer = getattr(caller, method)(address)
        assert "no-store" in answer["Cache-Control"], answer.status_code


def test_answers_to_tokens_are_not_stored(api):
    assert "no-store" in api("read").get("/api/messages")["Cache-Control"]


@pytest.mark.parametrize("address", ["/api/docs", "/static/admin/css/base.css"])
def test_what_is_the_same_for_everybody_may_be_stored(client, address):
    answer = client.get(address)
    answer.close()  # a static file is open until then

    assert "no-store" not in answer.headers.get("Cache-Control", "")
