"""The back office of messaging."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, CampaignMessage, Suppression, WorkerHeartbeat
from messaging.vocabulary import (
    CampaignStatus,
    SuppressionReason,
    SuppressionScope,
    WorkerKind,
)
from routing.admin.bases import BoundedActions
from routing.models import DeliveryReceipt, MessageDeliveryAttempt
from routing.vocabulary import (
    AttemptOutcome,
    CampaignKind,
    Channel,
    ErrorClass,
    FallbackReason,
    MessageStatus,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SOME_DAY = NOW + timedelta(days=9999)
MODELS = ["campaign", "campaignmessage", "suppression", "workerheartbeat"]


@pytest.fixture
def rows(db):
    """One row of each model, by the model's name."""
    message = MessageFactory()
    return {
        "campaign": message.campaign,
        "campaignmessage": message,
        "suppression": Suppression.objects.create(
            address="ann@example.com", reason=SuppressionReason.OPTED_OUT
        ),
        "workerheartbeat": WorkerHeartbeat.objects.create(
            owner=2**62,
            kind=WorkerKind.COMMAND,
            host="here",
            pid=1,
            started_at=NOW,
            beat_at=NOW,
        ),
    }


@pytest.fixture
def viewer_client(client, django_user_model):
    """A user who may view everything and change nothing."""
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(
        Permission.objects.filter(
            codename__startswith="view_",
            content_type__app_label__in=["messaging", "routing"],
        )
    )
    client.force_login(viewer)
    return client


@pytest.fixture(params=["admin_client", "viewer_client"])
def reader_client(request):
    """An administrator, then a user who may only view."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def fallen_back_message(db):
    """A message that fell back: the first provider failed, the second delivered."""
    message = MessageFactory(
        status=MessageStatus.DELIVERED,
        attempt_count=2,
        finished_at=NOW + 9 * SECOND,
    )
    first = {
        "provider": "TwilioSMS",
        "outcome": AttemptOutcome.REJECTED,
        "attempted_at": NOW,
        "error_class": ErrorClass.PROVIDER,
        "error_code": "30001",
        "error_message": "Queue <b>overflow</b>",
    }
    second = {
        "provider": "VonageSMS",
        "outcome": AttemptOutcome.ACCEPTED,
        "attempted_at": NOW + SECOND,
        "fallback_reason": FallbackReason.PRIMARY_FAILED,
        "external_message_id": "V-1",
        "cost": Decimal("0.0333"),
        "currency": "EUR",
        "response_time_ms": 120,
        "decision": {
            "strategy": "Primary",
            "candidates": [
                {"provider": "TwilioSMS", "verdict": "Provider 30001"},
                {"provider": "VonageSMS", "verdict": "eligible"},
            ],
        },
    }
    CampaignMessage.objects.update(created_at=NOW - SECOND)
    for number, fields in enumerate([first, second], start=1):
        MessageDeliveryAttempt.objects.create(
            message=message, attempt_number=number, channel=Channel.SMS, **fields
        )
    DeliveryReceipt.objects.create(
        message=message,
        attempt_number=2,
        provider="VonageSMS",
        event_id="1",
        provider_status="delivered",
        received_at=NOW + 9 * SECOND,
        raw="{}",
    )
    return message


def page(model, name="changelist", *arguments):
    return reverse(f"admin:messaging_{model}_{name}", args=arguments)


def act(client, action, *campaigns):
    """Runs an action of the campaign list; returns the page's messages."""
    return run_action(client, page("campaign"), action, campaigns)


def intervene(client, action, *chosen, **more):
    """Runs an action of the message list; returns the text of the page."""
    form = {"action": action, "_selected_action": [each.pk for each in chosen]}
    return client.post(page("campaignmessage"), form | more, follow=True).text


def run_action(client, url, action, rows, **more):
    form = {"action": action, "_selected_action": [each.pk for each in rows], **more}
    response = client.post(url, form, follow=True)
    return [str(message) for message in response.context["messages"]]


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_every_row_opens_for_readers(reader_client, rows, model):
    for url in [page(model), page(model, "change", rows[model].pk)]:
        assert reader_client.get(url).status_code == 200


def test_the_front_page_opens_for_readers_under_the_products_name(reader_client):
    response = reader_client.get(reverse("admin:index"))

    assert response.status_code == 200
    assert b"Marketing platform" in response.content


@pytest.mark.parametrize(
    "query",
    ["q=1", "q=ann@example.com", "q=%2B14155550000", "status__exact=0", "provider=X"],
)
def test_messages_can_be_searched_and_filtered(admin_client, rows, query):
    response = admin_client.get(f"{page('campaignmessage')}?{query}")

    assert response.status_code == 200


@pytest.mark.parametrize("key", ["pk", "recipient"])
def test_a_message_is_found_by_its_number_and_by_its_recipient(admin_client, key):
    MessageFactory.create_batch(3)
    wanted = MessageFactory()

    found = admin_client.get(page("campaignmessage"), {"q": getattr(wanted, key)})

    assert list(found.context["cl"].result_list) == [wanted]


@pytest.mark.parametrize("model", ["campaignmessage", "workerheartbeat"])
def test_not_even_an_administrator_changes_evidence(admin_client, rows, model):
    row = rows[model]
    shown = admin_client.get(page(model, "change", row.pk))

    assert admin_client.get(page(model, "add")).status_code == 403
    assert admin_client.post(page(model, "change", row.pk), {}).status_code == 403
    assert admin_client.post(page(model, "delete", row.pk), {}).status_code == 403
    assert not shown.context["show_save"]
    assert not shown.context["show_delete_link"]


def test_campaigns_are_neither_added_nor_deleted(admin_client, rows):
    campaign = rows["campaign"]

    assert admin_client.get(page("campaign", "add")).status_code == 403
    answer = admin_client.post(page("campaign", "delete", campaign.pk))
    assert answer.status_code == 403


def test_a_campaigns_urgency_can_be_changed_and_its_text_cannot(admin_client):
    campaign = CampaignFactory(body="Hello")
    form = {"name": campaign.name, "priority": 9, "body": "Goodbye", "status": 4}

    admin_client.post(page("campaign", "change", campaign.pk), form)

    campaign.refresh_from_db()
    assert (campaign.priority, campaign.body) == (9, "Hello")


def edit(client, campaign, **fields):
    """Saves a campaign's page with these fields; returns the response."""
    form = {"name": campaign.name, "priority": 5} | fields
    return client.post(page("campaign", "change", campaign.pk), form)


@pytest.mark.parametrize(("is_lane", "saved"), [(False, 5), (True, 100)])
def test_no_campaign_goes_before_single_transactional_messages(
    admin_client, is_lane, saved
):
    campaign = CampaignFactory(priority=5, is_standing=is_lane)

    edit(admin_client, campaign, priority=100)

    campaign.refresh_from_db()
    assert campaign.priority == saved


def test_a_campaigns_quiet_hours_are_edited_whatever_waits_for_them(admin_client):
    campaign = CampaignFactory(quiet_from="21:00", quiet_until="08:00")
    waits = {"status_reason": "Quiet hours until 08:00 in Europe/Berlin."}
    waiting = MessageFactory(campaign=campaign, due_at=SOME_DAY, **waits)

    edit(admin_client, campaign, quiet_from="23:00", quiet_until="06:30")

    campaign.refresh_from_db()
    waiting.refresh_from_db()
    assert str(campaign.quiet_hours) == "23:00-06:30"
    assert waiting.due_at == SOME_DAY  # workers see to it


def test_quiet_hours_are_not_offered_by_the_servers_clock(admin_client):
    campaign = CampaignFactory(quiet_from="21:00", quiet_until="08:00")

    shown = admin_client.get(page("campaign", "change", campaign.pk)).content.decode()

    assert 'type="time" name="quiet_from" value="21:00"' in shown


@pytest.mark.parametrize("until", ["", "21:00"])
def test_quiet_hours_without_an_end_of_their_own_are_refused(admin_client, until):
    campaign = CampaignFactory()

    answer = edit(admin_client, campaign, quiet_from="21:00", quiet_until=until)

    assert "Quiet hours need a beginning and an end" in answer.content.decode()
    campaign.refresh_from_db()
    assert campaign.quiet_hours is None


@pytest.mark.parametrize(
    "fields", [{"kind": CampaignKind.TRANSACTIONAL}, {"is_standing": True}]
)
def test_what_has_no_quiet_hours_of_its_own_gets_none(admin_client, fields):
    campaign = CampaignFactory(**fields)

    edit(admin_client, campaign, quiet_from="21:00", quiet_until="08:00")

    campaign.refresh_from_db()
    assert campaign.quiet_from is None
    assert campaign.status == CampaignStatus.RUNNING


def test_a_campaign_page_says_how_far_it_is_and_leads_to_its_messages(admin_client):
    campaign = CampaignFactory()
    MessageFactory.create_batch(2, campaign=campaign)
    MessageFactory(campaign=campaign, status=MessageStatus.SENT)
    MessageFactory()

    shown = admin_client.get(page("campaign", "change", campaign.pk))
    there = f"{page('campaignmessage')}?campaign__id__exact={campaign.pk}"

    assert f'<a href="{there}">2 queued, 1 sent</a>' in shown.text
    assert admin_client.get(there).context["cl"].result_count == 3


def test_the_message_page_shows_what_happened_in_order(
    reader_client, fallen_back_message
):
    shown = reader_client.get(page("campaignmessage", "change", fallen_back_message.pk))

    assert [entry.title for entry in shown.context["timeline"]] == [
        "Queued",
        "Attempt 1 by TwilioSMS: Rejected",
        "Attempt 2 by VonageSMS: Accepted",
        "VonageSMS says delivered",
        "Delivered",
    ]
    for fact in [
        "Provider error 30001: Queue &lt;b&gt;overflow&lt;/b&gt;",
        "fallback: Primary failed",
        "provider&#x27;s id V-1",
        "0.0333 EUR",
        "120 ms",
    ]:
        assert fact in shown.text


def test_the_message_page_says_why_this_provider(reader_client, fallen_back_message):
    shown = reader_client.get(page("campaignmessage", "change", fallen_back_message.pk))

    assert "Strategy: Primary" in shown.text
    assert "TwilioSMS: Provider 30001" in shown.text
    assert "VonageSMS: eligible" in shown.text


def test_the_message_page_ends_with_the_reason_where_nothing_was_sent(admin_client):
    message = MessageFactory(
        status=MessageStatus.CANCELLED, status_reason="Because.", finished_at=NOW
    )

    shown = admin_client.get(page("campaignmessage", "change", message.pk))

    (end,) = [each for each in shown.context["timeline"] if each.at == NOW]
    assert (end.title, end.facts) == ("Cancelled", ["Because."])


@pytest.mark.parametrize("key", ["0", "abc", "1_2F", "9" * 30])
def test_a_message_that_does_not_exist_leads_back(admin_client, key):
    response = admin_client.get(f"{page('campaignmessage')}{key}/change/")

    assert response.status_code == 302


@pytest.mark.parametrize(
    ("action", "before", "after", "says"),
    [
        ("pause", CampaignStatus.RUNNING, CampaignStatus.PAUSED, "paused"),
        ("resume", CampaignStatus.PAUSED, CampaignStatus.RUNNING, "resumed"),
        (
            "cancel",
            CampaignStatus.PAUSED,
            CampaignStatus.CANCELLED,
            "cancelled (0 withdrawn, 0 in flight)",
        ),
    ],
)
def test_an_action_does_what_it_says(admin_client, action, before, after, says):
    campaigns = CampaignFactory.create_batch(2, status=before)

    assert act(admin_client, action, *campaigns) == [f"2 campaigns {says}."]
    for campaign in campaigns:
        campaign.refresh_from_db()
        assert campaign.status == after


def test_a_cancellation_tells_what_it_came_to(admin_client):
    campaign = MessageFactory().campaign
    MessageFactory(
        campaign=campaign, status=MessageStatus.SENDING, lease_expires_at=NOW
    )

    assert act(admin_client, "cancel", campaign) == [
        "1 campaign cancelled (1 withdrawn, 1 in flight)."
    ]


def buttons(client, campaign):
    return dict(client.get(page("campaign", "change", campaign.pk)).context["buttons"])


@pytest.mark.parametrize(
    ("status", "labels"),
    [
        (CampaignStatus.DRAFT, ["Cancel"]),
        (CampaignStatus.RUNNING, ["Pause", "Cancel"]),
        (CampaignStatus.PAUSED, ["Resume", "Cancel"]),
        (CampaignStatus.CANCELLED, []),
    ],
)
def test_a_campaigns_page_offers_what_can_be_done(admin_client, status, labels):
    campaign = CampaignFactory(status=status)
    assert list(buttons(admin_client, campaign)) == labels

    MessageFactory(campaign=campaign, status=MessageStatus.FAILED, finished_at=NOW)
    is_over = status == CampaignStatus.CANCELLED
    retry = [] if is_over else ["Retry the 1 that failed"]
    assert list(buttons(admin_client, campaign)) == labels + retry


def test_a_campaign_is_paused_with_a_reason_that_is_kept(admin_client):
    campaign = MessageFactory().campaign
    MessageFactory(campaign=campaign, status=MessageStatus.SENT)
    address = buttons(admin_client, campaign)["Pause"]

    asked = admin_client.get(address)
    assert "1 message not sent yet." in asked.text
    done = admin_client.post(address, {"reason": "Wrong price."}, follow=True)

    campaign.refresh_from_db()
    assert campaign.status == CampaignStatus.PAUSED
    assert "Paused." in done.text
    event = AuditEvent.objects.get(action="pause")
    assert event.changes == {"reason": "Wrong price."}
    again = admin_client.post(address, {"reason": "Twice."}, follow=True)
    assert "Nothing was done: it is paused by now." in again.text


def test_what_failed_in_a_campaign_is_retried_and_nothing_else(admin_client):
    campaign = CampaignFactory(status=CampaignStatus.COMPLETED)
    for status in (MessageStatus.FAILED, MessageStatus.EXPIRED):
        MessageFactory(campaign=campaign, status=status, finished_at=timezone.now())
    address = buttons(admin_client, campaign)["Retry the 1 that failed"]

    admin_client.post(address, {"reason": "It was us.", "confirmed": "1"})

    statuses = CampaignMessage.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == [MessageStatus.QUEUED, MessageStatus.EXPIRED]


def test_who_may_only_look_gets_no_buttons(viewer_client):
    campaign = CampaignFactory()

    assert buttons(viewer_client, campaign) == {}
    address = page("campaign", "act", campaign.pk, "pause")
    assert viewer_client.post(address, {"reason": "x"}).status_code == 403


def test_messages_are_cancelled_and_retried_or_it_is_said_why_not(admin_client):
    waiting = MessageFactory()
    failed = MessageFactory(status=MessageStatus.FAILED)
    sent = MessageFactory(status=MessageStatus.SENT)

    assert "<strong>1</strong> of the 2 chosen" in intervene(
        admin_client, "cancel", waiting, sent
    )
    why = {"reason": "It was us.", "confirmed": "1"}
    for action, chosen in (("cancel", [waiting, sent]), ("retry", [failed])):
        done = intervene(admin_client, action, *chosen, **why)
        assert "1 of 1 messages done." in done
    statuses = CampaignMessage.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == [
        MessageStatus.CANCELLED,
        MessageStatus.QUEUED,
        MessageStatus.SENT,
    ]


def test_who_may_only_look_cancels_no_message(viewer_client):
    message = MessageFactory()

    intervene(viewer_client, "cancel", message)

    message.refresh_from_db()
    assert message.status == MessageStatus.QUEUED


def test_the_lanes_of_single_messages_are_shown_when_asked_for(admin_client):
    CampaignFactory(name="Autumn sale")
    CampaignFactory(name="Single SMS messages", is_standing=True)

    usual = admin_client.get(page("campaign")).content.decode()
    lanes = admin_client.get(page("campaign"), {"standing": "1"}).content.decode()

    assert ("Autumn sale" in usual, "Single SMS" in usual) == (True, False)
    assert ("Autumn sale" in lanes, "Single SMS" in lanes) == (False, True)


def test_an_action_says_when_there_was_nothing_to_do(admin_client):
    running, done = CampaignFactory(), CampaignFactory(status=CampaignStatus.COMPLETED)

    (paused,) = act(admin_client, "pause", running, done)
    (resumed,) = act(admin_client, "resume", done)

    why = "1 not: the status does not allow it."
    assert paused == f"1 campaign paused. {why}"
    assert resumed == f"0 campaigns resumed. {why}"


@pytest.mark.parametrize(
    ("model", "action"),
    [
        ("campaign", "cancel"),
        ("suppression", "delete_selected"),
    ],
)
def test_an_action_takes_no_more_rows_than_fit_into_a_request(
    admin_client, monkeypatch, model, action
):
    monkeypatch.setattr(BoundedActions, "ACTED_ON_AT_MOST", 2)
    rows = MessageFactory.create_batch(3)
    addresses = [
        Suppression.objects.create(address=each.recipient, reason=0) for each in rows
    ]
    chosen = {
        "campaign": [each.campaign for each in rows],
        "suppression": addresses,
    }[model]

    [says] = run_action(
        admin_client, page(model), action, chosen[:1], select_across="1"
    )

    assert says.startswith("Nothing was done: an action takes at most 2 rows at once.")
    assert CampaignMessage.objects.queued().count() == 3
    assert Campaign.objects.running().count() == Suppression.objects.count() == 3


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_who_may_only_look_cannot_act(viewer_client, action):
    campaigns = [CampaignFactory(status=status) for status in CampaignStatus]

    act(viewer_client, action, *campaigns)

    for campaign, before in zip(campaigns, CampaignStatus, strict=True):
        campaign.refresh_from_db()
        assert campaign.status == before


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("ann@büch\u2060er.example", "ann@xn--bcher-kva.example"),
        ("+1 (415) 555-2671", "+14155552671"),
        ("+54 11 2345-6789", "+5491123456789"),
    ],
)
def test_an_address_is_suppressed_in_the_form_that_messages_are_compared_by(
    admin_client, typed, stored
):
    form = {"address": typed, "reason": SuppressionReason.MANUAL.value}

    admin_client.post(page("suppression", "add"), form)

    suppression = Suppression.objects.get()
    assert (suppression.address, suppression.scope) == (stored, SuppressionScope.ALL)
    found = admin_client.get(page("suppression", "changelist"), {"q": typed})
    assert found.context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "This field is required."),
        ("ann@", "&#x27;ann@&#x27; is not an e-mail address."),
        ("555-2671", "is not a valid phone number with its +country code."),
    ],
)
def test_an_address_that_could_match_nobody_is_not_suppressed(
    admin_client, typed, says
):
    form = {"address": typed, "reason": SuppressionReason.MANUAL.value}

    response = admin_client.post(page("suppression", "add"), form)

    assert says in response.text
    assert not Suppression.objects.exists()


def test_messages_with_an_unknown_outcome_can_be_found(admin_client):
    lost = MessageFactory(status=MessageStatus.FAILED, unknown_since=NOW)
    MessageFactory(campaign=lost.campaign)

    response = admin_client.get(page("campaignmessage"), {"outcome": "unknown"})

    assert list(response.context["cl"].queryset) == [lost]


def test_messages_in_quarantine_can_be_found(admin_client):
    poison = MessageFactory(status=MessageStatus.FAILED, quarantined_at=NOW)
    MessageFactory(campaign=poison.campaign)

    response = admin_client.get(page("campaignmessage"), {"outcome": "quarantined"})

    assert list(response.context["cl"].queryset) == [poison]


def test_messages_that_may_have_come_twice_can_be_found(admin_client):
    duplicate = MessageFactory(status=MessageStatus.DELIVERED, double_risk_at=NOW)
    MessageFactory(campaign=duplicate.campaign)

    response = admin_client.get(page("campaignmessage"), {"outcome": "double"})

    assert list(response.context["cl"].queryset) == [duplicate]


def test_long_texts_are_cut_in_the_list_of_messages_and_show_when_pointed_at(
    admin_client,
):
    reason = "The provider could not be reached: " + "Connection refused. " * 3
    name = "Autumn sale for all members of the club in Berlin"
    MessageFactory(status_reason=reason.strip(), campaign__name=name)

    listed = admin_client.get(page("campaignmessage")).text

    for text in (reason.strip(), name):
        assert f'title="{text}"' in listed
        assert f">{text}<" not in listed


def test_the_list_of_campaigns_tells_how_many_messages_each_has(admin_client):
    CampaignFactory(message_count=1200)
    CampaignFactory(message_count=None)

    listed = admin_client.get(page("campaign")).text

    assert '<td class="field-size">1,200</td>' in listed
    assert '<td class="field-size">-</td>' in listed


def test_a_suppression_is_headed_by_its_address(admin_client, rows):
    row = rows["suppression"]

    shown = admin_client.get(page("suppression", "change", row.pk))

    assert shown.context["subtitle"] == row.address


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([MessageStatus.DELIVERED], "Completed"),
        ([MessageStatus.DELIVERED, MessageStatus.FAILED], "Completed, 1 failed"),
        ([MessageStatus.FAILED, MessageStatus.BOUNCED], "Completed, 2 failed"),
        # Nobody is to blame for these, and nothing is to be done.
        ([MessageStatus.SUPPRESSED, MessageStatus.EXPIRED], "Completed"),
    ],
)
def test_the_page_of_a_campaign_says_how_many_failed(reader_client, ends, words):
    campaign = CampaignFactory(status=CampaignStatus.COMPLETED)
    for status in ends:
        MessageFactory(campaign=campaign, status=status)
    MessageFactory(status=MessageStatus.FAILED)  # another campaign's

    page = reader_client.get(
        reverse("admin:messaging_campaign_change", args=[campaign.pk])
    )

    assert f">{words}</span>" in page.text


def test_the_page_of_a_campaign_counts_its_messages_once(
    admin_client, django_assert_max_num_queries
):
    campaign = MessageFactory(status=MessageStatus.FAILED).campaign
    address = reverse("admin:messaging_campaign_change", args=[campaign.pk])

    with django_assert_max_num_queries(20) as queries:
        admin_client.get(address)

    counts = [q for q in queries.captured_queries if "GROUP BY" in q["sql"]]
    assert len(counts) == 1
