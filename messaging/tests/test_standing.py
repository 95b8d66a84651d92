"""How a message stands, in a few words, and the list that shows it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, campaigns
from messaging.standing import standing
from messaging.tests.scenario import MINUTE, NOW
from messaging.vocabulary import CampaignStatus
from routing.factories import AttemptFactory
from routing.vocabulary import ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
LISTED = "admin:messaging_campaignmessage_changelist"
SOON = NOW + 24 * MINUTE  # 09:24
RETRIED = "Retrying (handset off; 2 of 4): TwilioSMS 30003: Unreachable"
QUEUED, SENDING, FAILED = (
    MessageStatus.QUEUED,
    MessageStatus.SENDING,
    MessageStatus.FAILED,
)


@pytest.mark.parametrize(
    ("fields", "level", "says"),
    [
        ({"due_at": NOW}, "wait", "Due: waiting for a worker"),
        ({"due_at": SOON}, "wait", "Scheduled for 09:24:00"),
        ({"due_at": SOON + 1440 * MINUTE}, "wait", "Scheduled for 2025-06-03 09:24"),
        (
            {"due_at": SOON, "status_reason": RETRIED},
            "wait",
            "Retrying 09:24:00 (2 of 4)",
        ),
        ({"due_at": SOON, "attempt_count": 1}, "wait", "Retrying 09:24:00"),
        (
            {"due_at": SOON, "status_reason": "TwilioSMS takes 1/s"},
            "wait",
            "Waiting until 09:24:00",
        ),
        (
            {
                "due_at": SOON,
                "status_reason": "Quiet hours until 08:00 in Europe/Berlin.",
            },
            "wait",
            "Quiet hours until 08:00",
        ),
        (
            {"campaign__status": CampaignStatus.PAUSED},
            "wait",
            "Held: campaign paused",
        ),
        (
            {"status": SENDING, "lease_owner": 1, "lease_expires_at": SOON},
            "wait",
            "Sending by TwilioSMS",
        ),
        (
            {"status": FAILED, "retry_count": 3},
            "fail",
            "Failed after 3 retries",
        ),
        ({"status": FAILED, "quarantined_at": NOW}, "fail", "Failed: quarantined"),
        ({"status": FAILED, "unknown_since": NOW}, "fail", "Failed: outcome unknown"),
        ({"status": MessageStatus.DELIVERED}, "ok", "Delivered"),
        (
            {"status": MessageStatus.DELIVERED, "double_risk_at": NOW},
            "warn",
            "Delivered, perhaps twice",
        ),
    ],
)
def test_a_few_words_say_how_it_stands_and_until_when(fields, level, says, settings):
    settings.TIME_ZONE = "UTC"
    message = MessageFactory(**{"provider": "TwilioSMS"} | fields)

    with timezone.override("UTC"):
        stands = standing(message, now=NOW)

    assert (stands.level, stands.text) == (level, says)


@pytest.mark.parametrize(
    ("lease", "says"),
    [
        (20 * MINUTE, "Unknown: waiting for a receipt until 09:20:00"),
        (5 * MINUTE, "Unknown: TwilioSMS is asked 09:05:00"),
    ],
)
def test_an_unknown_outcome_says_what_it_waits_for(settings, lease, says):
    settings.QUEUE_VERDICT_SECONDS = 20 * 60
    message = MessageFactory(
        status=SENDING,
        unknown_since=NOW,
        lease_expires_at=NOW + lease,
        provider="TwilioSMS",
    )

    with timezone.override("UTC"):
        assert standing(message, now=NOW).text == says


def test_what_an_outage_holds_back_says_so():
    message = MessageFactory(due_at=NOW)

    assert standing(message, is_held=True, now=NOW).text == "Held: no provider in use"


def listed(client, **filters):
    shown = client.get(reverse(LISTED), filters)
    assert shown.status_code == 200
    return list(shown.context["cl"].result_list)


def test_the_list_shows_pills_with_the_whole_reason(admin_client):
    MessageFactory(status=FAILED, status_reason='Refused <b>"x"</b>', retry_count=1)

    text = admin_client.get(reverse(LISTED)).text

    assert "Failed after 1 retry</span>" in text
    assert 'title="Refused &lt;b&gt;&quot;x&quot;&lt;/b&gt;"' in text


def test_the_list_is_filtered_by_time_campaign_and_error(admin_client):
    now = timezone.now()
    old, new = MessageFactory(), MessageFactory(status=FAILED, finished_at=now)
    CampaignMessage.objects.filter(pk=old.pk).update(
        created_at=now - timedelta(hours=2)
    )
    CampaignMessage.objects.filter(pk=new.pk).update(attempt_count=1)
    AttemptFactory(message=new, error_class=ErrorClass.PROVIDER)

    assert listed(admin_client, when="1h") == [new]
    assert listed(admin_client, when="24h") == [new, old]
    assert listed(admin_client, error=ErrorClass.PROVIDER.value) == [new]
    assert listed(admin_client, error=ErrorClass.ACCOUNT.value) == []
    assert listed(admin_client, campaign__id__exact=old.campaign_id) == [old]
    assert listed(admin_client, campaign__id__exact="9" * 30) == []


def test_what_was_created_lately_is_found_by_halving_the_ids(monkeypatch):
    monkeypatch.setattr(campaigns, "NEAR_ENOUGH", 1)
    campaign = CampaignFactory()
    made = MessageFactory.create_batch(40, campaign=campaign)
    for hours, each in enumerate(reversed(made)):
        created = {"created_at": NOW - timedelta(hours=hours)}
        CampaignMessage.objects.filter(pk=each.pk).update(**created)
    made[35].delete()  # ids have gaps

    found = CampaignMessage.objects.created_since(NOW - timedelta(hours=9))

    assert sorted(each.pk for each in found) == [
        each.pk for each in made[30:] if each != made[35]
    ]
    condition = str(found.query)
    assert f">= {made[29].pk}" in condition or f">= {made[28].pk}" in condition


def test_all_time_filters_work_on_an_empty_table(admin_client):
    assert listed(admin_client, when="7d") == []


# The page of one message.


def of(message):
    return reverse("admin:messaging_campaignmessage_change", args=[message.pk])


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({}, ["Cancel"]),
        ({"status": FAILED}, ["Retry"]),
        ({"status": FAILED, "unknown_since": NOW}, ["Send again"]),
        (
            {"status": SENDING, "unknown_since": NOW, "lease_expires_at": SOON},
            ["Send again", "Give up"],
        ),
        ({"status": MessageStatus.DELIVERED}, []),
    ],
)
def test_its_page_says_how_it_stands_and_offers_what_may_be_done(
    admin_client, client, django_user_model, fields, offered
):
    message = MessageFactory(**{"provider": "TwilioSMS"} | fields)

    shown = admin_client.get(of(message))

    assert [label for label, _ in shown.context["buttons"]] == offered
    for _, address in shown.context["buttons"]:
        assert "1</strong>" in admin_client.get(address).text
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_campaignmessage"))
    client.force_login(viewer)
    assert client.get(of(message)).context["buttons"] == []


def test_its_timeline_says_who_did_what_and_why(admin_client, api):
    message = MessageFactory(status=FAILED, finished_at=NOW)
    created = {"created_at": NOW - MINUTE}
    CampaignMessage.objects.filter(pk=message.pk).update(**created)
    [(_, retry)] = admin_client.get(of(message)).context["buttons"]
    asked = {"reason": "The provider is back.", "confirmed": "1"}

    admin_client.post(retry, asked)
    api("send").post(f"/api/messages/{message.pk}/cancel")

    shown = admin_client.get(of(message)).context["timeline"]
    acts = [each for each in shown if each.level == "act"]
    assert [each.title for each in acts] == [
        "Retry, asked for by admin",
        "Cancel, by send program",
    ]
    assert acts[0].facts[0] == "The provider is back."
    assert shown[-1].title == "Cancelled"


def test_an_act_that_was_refused_says_so(admin_client):
    message = MessageFactory(status=FAILED, recipient="erased-1")
    [(_, retry)] = admin_client.get(of(message)).context["buttons"]

    admin_client.post(retry, {"reason": "Again.", "confirmed": "1"})

    text = admin_client.get(of(message)).text
    assert "left alone: Its recipient&#x27;s data was erased." in text
