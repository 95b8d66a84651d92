"""/api/campaigns: create, launch, pause, resume, cancel."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, CampaignMessage
from messaging.rules.quiet_hours import QuietHours
from messaging.vocabulary import CampaignStatus
from routing.models import ChannelRoutingConfig
from routing.vocabulary import MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DRAFT = {"name": "Spring", "channel": 0, "body": "Hi {{first_name}}"}
ANN = {"to": "+14155550101", "values": {"first_name": "Ann"}}
BOB = {"to": "07400 123456", "country": "GB", "values": {"FIRST_NAME": "Bob"}}

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(api, route):
    """A client that may send, over a route that works."""
    return api("send")


@pytest.fixture
def draft(sender):
    """The path of a draft."""
    return f"/api/campaigns/{sender.post('/api/campaigns', DRAFT).json()['id']}"


def add(client, path, *recipients):
    return client.post(f"{path}/recipients", {"recipients": list(recipients)})


def detail(response, status=409):
    assert response.status_code == status, response.json()
    return response.json()["detail"]


def test_a_campaign_begins_as_a_draft(sender):
    response = sender.post("/api/campaigns", DRAFT | {"priority": 7})

    campaign = Campaign.objects.get()
    assert response.status_code == 201
    assert response["Location"].endswith(f"/api/campaigns/{campaign.pk}")
    answer = response.json()
    assert (answer["id"], answer["status"], answer["priority"]) == (campaign.pk, 0, 7)
    assert answer["progress"]["total"] == 0


NIGHT = {"quietFrom": "21:00", "quietUntil": "08:00"}
NO_NIGHT = {"quietFrom": None, "quietUntil": None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"quietFrom": "22:30", "quietUntil": "07:00"}),  # the installation's
        (NIGHT, NIGHT),
        (NO_NIGHT, NO_NIGHT),
        ({"kind": 1}, NO_NIGHT),
    ],
)
def test_quiet_hours_are_the_installations_unless_told_otherwise(
    sender, settings, given, expected
):
    settings.QUIET_HOURS = QuietHours.parse("22:30-07:00")

    answer = sender.post("/api/campaigns", DRAFT | given)

    assert answer.status_code == 201
    assert expected.items() <= answer.json().items()
    shown = sender.get(f"/api/campaigns/{answer.json()['id']}").json()
    assert expected.items() <= shown.items()


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"quietFrom": "21:00"}, "quietUntil", "need both quietFrom and quietUntil"),
        (NIGHT | {"quietFrom": None}, "quietFrom", "need both quietFrom"),
        (NIGHT | {"quietUntil": "21:00"}, "quietUntil", "must not end at the time"),
        (NIGHT | {"quietUntil": "8"}, "quietUntil", "must be a time such as 08:00"),
        (NIGHT | {"quietFrom": "24:00"}, "quietFrom", "must be a time such as 08:00"),
        (NIGHT | {"quietFrom": 21}, "quietFrom", "must be a text in quotes"),
        (NIGHT | {"kind": 1}, "quietFrom", "transactional campaign has no quiet hours"),
    ],
)
def test_quiet_hours_that_are_none_are_refused_at_their_field(
    sender, given, field, says
):
    answer = sender.post("/api/campaigns", DRAFT | given)

    assert answer.status_code == 400
    (problem,) = answer.json()["errors"]
    assert problem["field"] == field
    assert says in problem["detail"]


def test_a_campaign_goes_from_draft_to_handsets_and_its_progress_is_told(sender, draft):
    added = add(sender, draft, ANN, BOB)
    launched = sender.post(f"{draft}/launch")

    assert added.json() == {"accepted": 2, "rejected": []}
    assert (launched.status_code, launched.json()["status"]) == (200, 1)
    bodies = CampaignMessage.objects.order_by("id").values_list("recipient", "body")
    assert list(bodies) == [("+14155550101", "Hi Ann"), ("+447400123456", "Hi Bob")]
    progress = sender.get(draft).json()["progress"]
    assert (progress["total"], progress["left"]) == (2, 2)
    assert progress["byStatus"][0] == {"status": 0, "count": 2}
    assert len(progress["byStatus"]) == len(MessageStatus)


def test_recipients_that_cannot_be_used_are_told_with_a_reason_each(sender, draft):
    add(sender, draft, ANN)

    response = add(sender, draft, ANN, {"to": "12"}, BOB, {"to": "+14155550102"}, BOB)

    assert response.json() == {
        "accepted": 1,
        "rejected": [
            {"index": 0, "to": "+14155550101", "reason": "duplicate recipient"},
            {
                "index": 1,
                "to": "12",
                "reason": "'12' is not a valid phone number with its +country code; a "
                "national number needs its country, in `country`",
            },
            {
                "index": 3,
                "to": "+14155550102",
                "reason": "it has no value for {{first_name}}",
            },
            {"index": 4, "to": "+447400123456", "reason": "duplicate recipient"},
        ],
    }


def test_the_unsubscribe_link_of_marketing_mail_needs_no_value(sender):
    mail = {"channel": 2, "subject": "Hi", "body": "Bye: {{unsubscribe_url}}"}
    pk = sender.post("/api/campaigns", DRAFT | mail).json()["id"]

    added = add(sender, f"/api/campaigns/{pk}", {"to": "ann@example.com"})

    assert added.json() == {"accepted": 1, "rejected": []}


def test_any_name_fills_its_field_and_a_default_needs_no_value(sender):
    body = "Hi {{First Name|there}}, {{prénom}}"
    pk = sender.post("/api/campaigns", DRAFT | {"body": body}).json()["id"]

    values = [{"prénom": "Zoë"}, {"first name": "Bob", "PRE\u0301NOM": ""}]
    people = [ANN | {"values": values[0]}, BOB | {"values": values[1]}]
    added = add(sender, f"/api/campaigns/{pk}", *people)

    assert added.json() == {"accepted": 2, "rejected": [], "blanks": {"prénom": 1}}
    bodies = CampaignMessage.objects.order_by("id").values_list("body", flat=True)
    assert list(bodies) == ["Hi there, Zoë", "Hi Bob, "]


def test_recipients_with_blanks_can_be_rejected(sender, draft):
    blank = ANN | {"values": {"first_name": ""}}
    body = {"recipients": [blank, BOB], "rejectBlank": True}

    added = sender.post(f"{draft}/recipients", body).json()

    assert added["accepted"] == 1
    assert added["rejected"][0]["reason"] == "its first_name is blank"


def test_one_value_by_two_names_is_rejected(sender, draft):
    twice = ANN | {"values": {"first_name": "Ann", "FIRST_NAME": "Bob"}}

    added = add(sender, draft, twice).json()

    assert added["rejected"][0]["reason"] == "it has {{first_name}} twice"


def test_recipients_who_make_too_much_text_are_refused_before_any_is_written(sender):
    mail = {"channel": 2, "subject": "Hi", "body": "{{x}}" + "y" * 250_000}
    pk = sender.post("/api/campaigns", DRAFT | mail).json()["id"]
    people = [{"to": f"p{n}@example.com", "values": {"x": "x"}} for n in range(100)]

    response = add(sender, f"/api/campaigns/{pk}", *people)

    assert response.status_code == 413
    assert "Send fewer recipients at once" in response.json()["detail"]
    assert not CampaignMessage.objects.exists()


@pytest.mark.parametrize("body", ["Hi {{first_name}", "Hi {{{x}}}", "{{x|upper}}"])
def test_a_draft_with_what_is_no_field_is_refused(sender, body):
    response = sender.post("/api/campaigns", DRAFT | {"body": body})

    assert response.status_code == 400
    assert "The text has '{{" in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize("count", [0, 1001])
def test_recipients_come_by_one_to_a_thousand(sender, draft, count):
    response = add(sender, draft, *[ANN] * count)

    assert response.status_code == 400
    assert [each["field"] for each in response.json()["errors"]] == ["recipients"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"body": "x" * 1601}, "body"),
        ({"subject": "Hi"}, "subject"),
        ({"priority": 100}, "priority"),
        ({"scheduledAt": "2020-01-01T00:00:00Z"}, "scheduledAt"),
        ({"status": 1}, "status"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_field(sender, change, field):
    response = sender.post("/api/campaigns", DRAFT | change)

    assert response.status_code == 400
    assert [each["field"] for each in response.json()["errors"]] == [field]
    assert not Campaign.objects.exists()


def test_a_campaign_without_recipients_is_not_launched(sender, draft):
    says = detail(sender.post(f"{draft}/launch"))

    assert says == "The campaign has no recipients. Add some, then launch it."


def test_a_campaign_without_a_route_is_not_launched(sender, draft):
    add(sender, draft, ANN)
    ChannelRoutingConfig.objects.update(is_active=False)

    assert "no active route for SMS" in detail(sender.post(f"{draft}/launch"))
    assert Campaign.objects.get().status == CampaignStatus.DRAFT


@pytest.mark.parametrize(
    ("status", "refused", "says"),
    [
        ("DRAFT", ["pause", "resume"], "draft: you can add recipients, launch"),
        ("RUNNING", ["launch", "resume"], "running: you can pause or cancel"),
        ("PAUSED", ["launch", "pause"], "paused: you can resume or cancel"),
        (
            "COMPLETED",
            ["launch", "pause", "resume", "cancel"],
            "completed: it cannot be changed",
        ),
        (
            "CANCELLED",
            ["launch", "pause", "resume", "cancel"],
            "cancelled: it cannot be changed",
        ),
    ],
)
def test_what_a_state_does_not_allow_is_refused_with_what_it_does(
    sender, status, refused, says
):
    campaign = MessageFactory(campaign__status=CampaignStatus[status]).campaign

    for action in refused:
        path = f"/api/campaigns/{campaign.pk}/{action}"
        assert f"The campaign is {says}" in detail(sender.post(path))
    campaign.refresh_from_db()
    assert campaign.status == CampaignStatus[status]


def test_a_campaign_is_paused_and_goes_on(sender):
    campaign = CampaignFactory()
    path = f"/api/campaigns/{campaign.pk}"

    assert sender.post(f"{path}/pause").json()["status"] == CampaignStatus.PAUSED
    assert sender.post(f"{path}/resume").json()["status"] == CampaignStatus.RUNNING


def test_a_cancellation_tells_what_it_came_to(sender):
    campaign = CampaignFactory()
    MessageFactory.create_batch(2, campaign=campaign)
    MessageFactory(
        campaign=campaign, status=MessageStatus.SENDING, lease_expires_at=NOW
    )

    response = sender.post(f"/api/campaigns/{campaign.pk}/cancel")

    assert response.json() == {"status": 4, "withdrawn": 2, "inFlight": 1}


def test_campaigns_are_listed_and_found(api):
    running = CampaignFactory()
    paused = CampaignFactory(status=CampaignStatus.PAUSED)
    reader = api("read")

    listed = reader.get("/api/campaigns").json()["results"]
    found = reader.get("/api/campaigns", {"status": 2}).json()["results"]

    assert [each["id"] for each in listed] == [paused.pk, running.pk]
    assert [each["id"] for each in found] == [paused.pk]


def test_the_lanes_of_single_messages_are_not_campaigns_here(sender):
    lane = CampaignFactory(is_standing=True)

    assert sender.get("/api/campaigns").json()["results"] == []
    for path in [f"/api/campaigns/{lane.pk}", f"/api/campaigns/{lane.pk}/pause"]:
        assert sender.get(path).status_code in (404, 405)
    assert sender.post(f"/api/campaigns/{lane.pk}/cancel").status_code == 404
