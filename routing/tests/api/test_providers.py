"""Providers over REST, by command and in the back office."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent, Door
from routing.models import ProviderHealth, ProviderPause
from routing.rules.breaker import BreakerState
from routing.vocabulary import Channel, ProviderState

pytestmark = pytest.mark.django_db
PROVIDERS = "/api/providers"
WHY = {"reason": "contract ended"}
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def two_providers(settings):
    settings.MESSAGE_PROVIDERS = {
        "Ours": {
            "BACKEND": "routing.providers.memory.MemorySMS",
            "OPTIONS": {"ACCOUNT": "AC0123456789", "FROM": "+15005550006"},
        },
        "Idle": {"BACKEND": "routing.providers.twilio.TwilioSMS"},
    }


@pytest.fixture
def client_of_api(api):
    return api("admin")


def post(client, act, body=WHY, *, name="Ours"):
    return client.post(f"{PROVIDERS}/{name}/{act}", body, format="json")


def out_of_use():
    return ProviderHealth.objects.create(
        provider="Ours",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        open_until=timezone.now() + HOUR,
    )


def test_the_list_says_how_each_is_set_up_and_how_it_is(client_of_api):
    ours, idle = client_of_api.get(PROVIDERS).json()

    assert ours == {
        "name": "Ours",
        "channel": 0,
        "state": ProviderState.IN_USE,
        "inWords": "in use",
        "problem": "",
        "account": "ACCOUNT ends in 6789, from +15005550006",
        "isSimulated": True,
        "sendsReceipts": False,
        "throttle": "none",
        "nextTryAt": None,
        "pauses": [],
    }
    assert idle["state"] == ProviderState.NOT_CONFIGURED
    assert idle["inWords"] == idle["problem"]
    assert "it lacks ACCOUNT_SID" in idle["problem"]


def test_a_provider_is_paused_and_resumed_and_the_audit_log_says_by_whom_and_why(
    client_of_api,
):
    paused = post(client_of_api, "pause")

    assert paused.status_code == 200
    assert paused.json()["state"] == ProviderState.PAUSED
    assert paused.json()["inWords"].endswith(" by admin program: contract ended")
    assert client_of_api.get(f"{PROVIDERS}/Ours").json() == paused.json()
    resumed = post(client_of_api, "resume", {"reason": "signed again"})
    assert resumed.json()["state"] == ProviderState.IN_USE
    ended, begun = AuditEvent.objects.filter(object_type="routing.ProviderPause")
    assert (begun.action, begun.door, begun.actor) == (
        "pause",
        Door.API,
        "admin program",
    )
    assert begun.changes["state"] == ["in use", paused.json()["inWords"]]
    assert begun.changes["reason"] == "contract ended"
    assert ended.changes["state"] == [paused.json()["inWords"], "resumed"]
    assert ended.changes["reason"] == "signed again"
    (kept,) = ProviderPause.objects.all()
    assert (kept.resumed_by, kept.resume_reason) == ("admin program", "signed again")


def test_a_probe_makes_the_next_message_try_the_provider(client_of_api):
    row = out_of_use()

    answer = post(client_of_api, "probe")

    assert answer.json()["state"] == ProviderState.OUT_OF_USE
    row.refresh_from_db()
    assert row.open_until <= timezone.now()
    assert AuditEvent.objects.get(action="probe").changes["reason"] == "contract ended"


@pytest.mark.parametrize(
    ("act", "body", "name", "status", "said"),
    [
        ("pause", WHY, "Nobody", 404, "Unknown provider 'Nobody'"),
        ("resume", WHY, "Nobody", 404, "Unknown provider 'Nobody'"),
        ("pause", {}, "Ours", 400, "reason: "),
        ("resume", {"reason": " "}, "Ours", 400, "reason: "),
        ("probe", {"reason": "x" * 201}, "Ours", 400, "reason: "),
        ("pause", WHY | {"until": "2020-01-01T00:00:00Z"}, "Ours", 400, "until: "),
        ("resume", WHY, "Ours", 409, "Ours is not paused."),
        ("probe", WHY, "Ours", 409, "Ours is in use"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    client_of_api, act, body, name, status, said
):
    answer = post(client_of_api, act, body, name=name)

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(said)
    assert not AuditEvent.objects.filter(action__in=["pause", "resume", "probe"])


def test_a_provider_that_is_paused_is_not_paused_again(client_of_api):
    post(client_of_api, "pause")

    again = post(client_of_api, "pause")

    assert again.status_code == 409
    assert again.json()["detail"].startswith("Ours is already paused since")


def test_the_command_lists_pauses_and_resumes(capsys):
    call_command("providers")
    call_command("providers", "pause", "Ours", "--reason", "contract ended")
    call_command("providers", "resume", "Ours", "--reason", "signed again")

    ours, details, idle, paused, _, resumed, _ = capsys.readouterr().out.splitlines()
    assert ours == "Ours (SMS): in use"
    assert details.strip() == (
        "ACCOUNT ends in 6789, from +15005550006; simulated; no receipts; "
        "throttle: none"
    )
    assert idle.startswith("Idle (SMS): Idle is not configured: it lacks ACCOUNT_SID")
    assert paused.startswith("Ours (SMS): paused since ")
    assert paused.endswith(": contract ended")
    assert resumed == ours
    assert {each.door for each in AuditEvent.objects.all()} == {Door.COMMAND}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "Nobody", "--reason=x"], "Unknown provider 'Nobody'"),
        (["pause", "Ours"], "--reason"),
        (["pause", "Ours", "--reason= "], "Say why"),
        (["pause", "Ours", "--reason=x", "--until=soon"], "'soon' is not a time"),
        (["pause", "Ours", "--reason=x", "--until=2020-01-01T00:00"], "must end"),
        (["resume", "Ours", "--reason=x"], "Ours is not paused"),
        (["probe", "Ours", "--reason=x"], "Ours is in use"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, said):
    with pytest.raises(CommandError, match=said):
        call_command("providers", *arguments)


def operator(client, django_user_model, *permissions):
    user = django_user_model.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def press(client, act, name="Ours", **fields):
    address = reverse("admin:routing_provider_act", args=[name, act])
    return client.post(address, {"reason": "contract ended", **fields}, follow=True)


def test_the_back_office_pauses_resumes_and_probes_with_a_reason(admin_client):
    row = out_of_use()

    shown = admin_client.get(reverse("admin:routing_providers")).content.decode()
    assert ">Pause</a>" in shown
    assert ">Try now</a>" in shown
    assert ">Resume</a>" not in shown
    asked = press(admin_client, "pause", reason="")
    assert "This field is required." in asked.content.decode()
    shown = press(admin_client, "pause").content.decode()
    assert " by admin: contract ended." in shown
    assert ">Resume</a>" in shown
    press(admin_client, "resume")
    press(admin_client, "probe")
    row.refresh_from_db()
    assert row.open_until <= timezone.now()
    again = press(admin_client, "resume").content.decode()
    assert "Nothing was done: Ours is not paused." in again
    acts = AuditEvent.objects.filter(door=Door.ADMIN).values_list("action", flat=True)
    assert list(acts) == ["probe", "resume", "pause"]


def test_a_maintenance_window_is_planned_and_called_off(admin_client):
    begins = timezone.localtime() + HOUR
    ends = begins + HOUR
    times = {
        "since_0": f"{begins:%Y-%m-%d}",
        "since_1": f"{begins:%H:%M}",
        "until_0": f"{ends:%Y-%m-%d}",
        "until_1": f"{ends:%H:%M}",
    }
    wrong = press(admin_client, "pause", **times | {"until_0": "2020-01-01"})
    assert "It must end in the future" in wrong.content.decode()

    shown = press(admin_client, "pause", **times).content.decode()

    assert "to be paused from" in shown
    assert ">Pause</a>" in shown
    assert ">Call off the pause</a>" in shown
    press(admin_client, "resume")
    assert not ProviderPause.objects.open(timezone.now())
    history = admin_client.get(reverse("admin:routing_providerpause_changelist"))
    assert " by admin: contract ended</span>" in history.content.decode()


def test_who_may_only_look_has_no_buttons(client, django_user_model):
    client = operator(client, django_user_model, "view_providerpause")

    shown = client.get(reverse("admin:routing_providers"))

    assert shown.status_code == 200
    assert ">Pause</a>" not in shown.content.decode()
    assert press(client, "pause").status_code == 403
    assert not ProviderPause.objects.exists()


@pytest.mark.parametrize(("act", "name"), [("pause", "Nobody"), ("sell", "Ours")])
def test_what_does_not_exist_is_not_found(admin_client, act, name):
    assert press(admin_client, act, name).status_code == 404
