"""The audit log: an event for each act, in whatever way, which outlives its author."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Success

from marketing_platform.audit.models import AppendOnly, AuditEvent, Door
from marketing_platform.audit.record import WATCHED, WATCHED_IN_REQUESTS, record
from marketing_platform.diagnosis.doors import refused_tasks
from marketing_platform.diagnosis.findings import Level
from marketing_platform.models import ApiToken
from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope
from messaging.cluster.task_gate import note_refusal
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Suppression
from messaging.vocabulary import CampaignStatus, SuppressionReason
from routing.admin.bases import ReadOnlyAdmin
from routing.models import ChannelRoutingConfig
from routing.vocabulary import ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
ROUTE = {
    "channel": 0,
    "primaryProvider": "TwilioSMS",
    "fallbackProvider": "VonageSMS",
    "furtherProviders": [{"provider": "TwilioSMS", "weight": 1}],
}


def acts(**filters):
    """(actor, door, action) of each event, oldest first."""
    events = AuditEvent.objects.filter(**filters).order_by("id")
    return [(each.actor, Door(each.door), each.action) for each in events]


def latest(action):
    return AuditEvent.objects.filter(action=action).latest("id")


def act_in_admin(client, model, action, *rows, **more):
    """Choose an action of a list, like an operator."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    data |= {"post": "yes"}  # to Django's own confirmation before it deletes
    return client.post(reverse(f"admin:{model}_changelist"), data, follow=True)


@pytest.mark.parametrize(
    ("verb", "before"),
    [
        ("pause", CampaignStatus.RUNNING),
        ("resume", CampaignStatus.PAUSED),
        ("cancel", CampaignStatus.RUNNING),
    ],
)
def test_what_is_done_to_a_campaign_is_kept_by_both_doors(
    admin_client, api, verb, before
):
    campaigns = [CampaignFactory(status=before) for _ in range(2)]

    act_in_admin(admin_client, "messaging_campaign", verb, campaigns[0])
    api("send").post(f"/api/campaigns/{campaigns[1].pk}/{verb}")

    assert acts(action=verb) == [
        ("admin", Door.ADMIN, verb),
        ("send program", Door.API, verb),
    ]
    token = ApiToken.objects.get()
    assert latest(verb).token == f"#{token.pk} {token}"
    assert latest(verb).object_id == str(campaigns[1].pk)


@pytest.mark.parametrize(
    ("verb", "status"),
    [("cancel", MessageStatus.QUEUED), ("retry", MessageStatus.FAILED)],
)
def test_what_is_done_to_a_message_is_kept_by_both_doors(
    admin_client, api, verb, status
):
    messages = [MessageFactory(status=status) for _ in range(2)]

    why = {"reason": "Wrong text.", "confirmed": "1"}
    act_in_admin(admin_client, "messaging_campaignmessage", verb, messages[0], **why)
    api("send").post(f"/api/messages/{messages[1].pk}/{verb}", {})

    (job,) = acts(action="finish bulk job")
    (act,) = acts(action=verb, object_type="messaging.CampaignMessage")
    assert [actor for actor, *_ in (job, act)] == ["admin", "send program"]
    assert latest("finish bulk job").changes["why"] == "Wrong text."


def test_what_is_refused_leaves_no_event(api):
    campaign = CampaignFactory(status=CampaignStatus.COMPLETED)

    api("send").post(f"/api/campaigns/{campaign.pk}/cancel")

    assert acts(action="cancel") == []


def test_a_route_is_followed_through_its_life(api, simulator):
    client = api("admin")
    AuditEvent.objects.all()._raw_delete("default")
    made = client.post("/api/routingconfig", ROUTE | {"furtherProviders": []}).json()
    client.patch(f"/api/routingconfig/{made['id']}", {"maxRetries": 7})
    client.delete(f"/api/routingconfig/{made['id']}")

    assert [action for _, _, action in acts()] == ["create", "change", "delete"]
    assert latest("change").changes == {"max_retries": [3, 7]}
    assert latest("delete").changes["primary_provider"] == ["TwilioSMS", None]


def test_a_retry_rule_is_followed_through_its_life(api):
    rule = {"errorClass": ErrorClass.HANDSET_OFF, "code": "7", "delaysSeconds": [60]}
    client = api("admin")
    AuditEvent.objects.all()._raw_delete("default")
    made = client.post("/api/routingconfig/retries", rule).json()
    address = f"/api/routingconfig/retries/{made['id']}"
    client.patch(address, {"delaysSeconds": []})
    client.delete(address)

    assert [action for _, _, action in acts()] == ["create", "change", "delete"]
    assert latest("change").changes == {"delays_seconds": [[60], []]}


def test_the_log_says_nothing_at_a_terminal_that_its_command_says(
    admin_client, admin_user, caplog
):
    caplog.set_level("INFO")
    call_command("issue_token", "admin", stdout=StringIO())
    assert not caplog.messages

    token = ApiToken.objects.get()
    act_in_admin(admin_client, "marketing_platform_apitoken", "revoke", token)
    assert any("revoke" in each for each in caplog.messages)


def test_a_token_is_followed_from_issue_to_revocation(admin_client, admin_user):
    call_command("issue_token", "admin", "--name=shop", stdout=StringIO())
    token = ApiToken.objects.get()
    act_in_admin(admin_client, "marketing_platform_apitoken", "revoke", token)

    kept = AuditEvent.objects.filter(object_type="marketing_platform.ApiToken")
    assert [each.action for each in kept.order_by("id")] == ["create", "revoke"]
    issued = kept.get(action="create")
    assert issued.door == Door.COMMAND
    assert issued.changes["name"] == [None, "shop"]
    assert token.digest not in json.dumps(issued.changes)


def test_suppressing_and_its_opposite_are_kept_without_the_address(admin_client):
    add = reverse("admin:messaging_suppression_add")
    admin_client.post(add, {"address": "+14155552671", "reason": 0, "source": "phone"})
    row = Suppression.objects.get()
    act_in_admin(admin_client, "messaging_suppression", "delete_selected", row)

    done = acts(object_type="messaging.Suppression")
    assert [action for _, _, action in done] == ["create", "delete"]
    kept = json.dumps(list(AuditEvent.objects.values_list("changes", flat=True)))
    assert "4155552671" not in kept
    assert "+14******671" in kept


def test_what_recipients_do_themselves_is_no_act_of_an_operator():
    Suppression.objects.create(
        address="+14155552671", reason=SuppressionReason.OPTED_OUT
    )

    assert acts() == []


@pytest.mark.django_db(transaction=True)  # rebuild_stats begins its own
@pytest.mark.parametrize(
    ("command", "action"),
    [
        (["prune", "--content-after=45d"], "prune"),
        (["rebuild_stats"], "rebuild statistics"),
        (["loaddata", "default_routes"], "create"),
    ],
)
def test_commands_are_kept_with_who_runs_them(command, action, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("sys.argv", ["/opt/messages/manage.py", *command])

    call_command(*command, stdout=StringIO())

    event = latest(action)
    assert (event.actor, event.door) == ("ada", Door.COMMAND)
    assert event.source == f"manage.py {command[0]}"


def test_a_dry_run_is_no_act():
    call_command("prune", "--content-after=45d", "--dry-run", stdout=StringIO())

    assert acts() == []


def test_permissions_that_are_given_are_kept(django_user_model):
    user = django_user_model.objects.create(username="ada")
    group = Group.objects.create(name="operators")
    group.permissions.add(Permission.objects.get(codename="change_campaign"))
    user.groups.add(group)

    changes = [each.changes for each in AuditEvent.objects.filter(action="change")]
    assert {"groups": {"add": ["operators"]}} in changes
    assert any("permissions" in each for each in changes)


def test_a_password_is_kept_as_changed_only(admin_user):
    admin_user.set_password("correct horse battery staple")
    admin_user.save()

    assert latest("change").changes == {"password": ["(secret)", "(secret)"]}


def test_who_did_it_is_known_after_the_user_is_deleted(admin_client, admin_user):
    issue_token(user=admin_user, scope=TokenScope.READ, expires_at=None)
    campaign = CampaignFactory(status=CampaignStatus.RUNNING)
    act_in_admin(admin_client, "messaging_campaign", "pause", campaign)

    admin_user.delete()

    event = latest("pause")
    assert (event.user_id, event.actor) == (None, "admin")
    assert acts(action="delete", object_type="auth.User")


def test_an_act_that_fails_leaves_no_event(api, simulator, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError

    client = api("admin")
    before = AuditEvent.objects.count()
    monkeypatch.setattr("routing.api.routes._further", fails)
    client.raise_request_exception = False
    client.post("/api/routingconfig", ROUTE)

    assert not ChannelRoutingConfig.objects.exists()
    assert AuditEvent.objects.count() == before


def test_events_are_neither_changed_nor_deleted(admin_client):
    event = record("pause")
    address = reverse("admin:marketing_platform_auditevent_change", args=[event.pk])

    for refused in (event.save, event.delete, AuditEvent.objects.all().delete):
        with pytest.raises(AppendOnly):
            refused()
    with pytest.raises(AppendOnly):
        AuditEvent.objects.update(actor="nobody")
    assert admin_client.get(address).status_code == 200
    assert admin_client.post(address, {"actor": "nobody"}).status_code == 403
    assert AuditEvent.objects.get(pk=event.pk).actor == event.actor


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"priority": [5, 7]}, "priority: 5 → 7"),
        ({"name": [None, "Sale"]}, "name: Sale"),
        ({"name": ["Sale", None]}, "name: Sale → none"),
        ({"is_active": [True, False]}, "is_active: yes → no"),
        ({"country": ["DE", ""]}, "country: DE → blank"),
        ({"accepted": 12}, "accepted: 12"),
        ({"groups": {"added": ["staff", "night"]}}, "groups: added staff, night"),
        ({"urls": [["a"], []]}, "urls: a → none"),
    ],
)
def test_an_event_tells_in_words_what_changed_of_what(admin_client, changes, says):
    route = ChannelRoutingConfig(pk=4, channel=0, primary_provider="TwilioSMS")
    event = record("change", route, changes)
    address = reverse("admin:marketing_platform_auditevent_change", args=[event.pk])

    shown = admin_client.get(address).text

    assert f"<li>{says}</li>" in shown
    assert "route 4 SMS by TwilioSMS" in shown


def test_an_event_of_a_model_that_is_gone_can_be_looked_at(admin_client):
    event = AuditEvent.objects.create(
        door=Door.ADMIN, action="change", object_type="shop.Basket", object_id="1"
    )
    address = reverse("admin:marketing_platform_auditevent_change", args=[event.pk])

    assert "Basket 1" in admin_client.get(address).text


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"claimed": 3, "ended": {"It expired.": 1}}, "claimed 3, ended It expired. 1"),
        ({"claimed": 3, "ended": {}}, "claimed 3, ended none"),
        (frozenset({1}), "not shown: not a plain number or text"),
    ],
)
def test_the_result_of_a_task_is_told_in_words(admin_client, result, says):
    now = timezone.now()
    task = Success.objects.create(
        id="1",
        name="x",
        func="y",
        started=now,
        stopped=now,
        success=True,
        result=result,
    )

    address = reverse("admin:django_q_success_change", args=[task.pk])

    assert says in admin_client.get(address).text


def test_old_events_go_only_when_they_are_pruned():
    now = timezone.now()
    old = AuditEvent.objects.create(
        at=now - timedelta(days=800), door=Door.ADMIN, action="pause"
    )
    call_command("prune_audit", "--after=730d", stdout=StringIO())

    assert not AuditEvent.objects.filter(pk=old.pk).exists()
    assert [action for _, _, action in acts()] == ["prune audit log"]


def test_every_screen_that_changes_something_is_watched():
    watched = {apps.get_model(label) for label in WATCHED + WATCHED_IN_REQUESTS}
    unwatched = [
        model._meta.label
        for model, screen in admin.site._registry.items()
        if not isinstance(screen, ReadOnlyAdmin) and model not in watched
    ]

    assert not unwatched, (
        f"Nobody will know who changed {unwatched}: add them to WATCHED in "
        "marketing_platform/audit/record.py, or make their screens read-only."
    )


@pytest.mark.parametrize("model", ["schedule", "ormq", "success", "failure"])
def test_the_clusters_tables_are_looked_at_only(admin_client, model):
    Schedule.objects.create(func="os.system", hook="os.system")
    OrmQ.objects.create(key="messages", payload="forged")
    listed = admin_client.get(reverse(f"admin:django_q_{model}_changelist"))
    added = admin_client.post(reverse(f"admin:django_q_{model}_add"), {"func": "x"})

    assert listed.status_code == 200
    assert "resubmit" not in listed.content.decode()
    assert added.status_code == 403


def test_the_doctor_tells_of_tasks_that_were_refused():
    assert refused_tasks(timezone.now()).level == Level.OK
    note_refusal("Queued task 1", "os.system is not allowed")
    assert refused_tasks(timezone.now()).level == Level.FAIL
    Schedule.objects.create(func="os.system")

    finding = refused_tasks(timezone.now())

    assert finding.level == Level.WARN
    assert "'os.system'" in finding.text


def test_a_user_edited_in_the_back_office_is_watched(admin_client):
    user = User.objects.create(username="bob")
    address = reverse("admin:auth_user_change", args=[user.pk])
    form = {"username": "bob", "is_staff": "on", "date_joined_0": "2026-01-01"}
    admin_client.post(address, form | {"date_joined_1": "00:00:00"})

    event = latest("change")
    assert (event.actor, event.object_label) == ("admin", "bob")
    assert event.changes["is_staff"] == [False, True]
