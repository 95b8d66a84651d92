"""The roles that an installation starts with."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.urls import reverse

from marketing_platform.audit.models import AuditEvent
from marketing_platform.roles import ACTS, ROLES
from messaging.factories import MessageFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client, django_user_model):
    """Logs a person in who has one of the roles."""

    def log_in(role):
        user = django_user_model.objects.create_user("ada", is_staff=True)
        user.groups.set([Group.objects.get(name=role)])
        client.force_login(user)
        return client

    return log_in


def listed(name):
    return reverse(f"admin:{name}_changelist")


@pytest.mark.parametrize(
    ("role", "sees", "hidden"),
    [
        (
            "Viewer",
            ["messaging_campaignmessage", "routing_providerpause", "django_q_schedule"],
            ["marketing_platform_apitoken", "marketing_platform_auditevent"],
        ),
        (
            "Operator",
            ["messaging_bulkjob"],
            ["auth_user", "marketing_platform_apitoken"],
        ),
        (
            "Administrator",
            [
                "auth_user",
                "marketing_platform_apitoken",
                "marketing_platform_auditevent",
            ],
            [],
        ),
    ],
)
def test_each_role_sees_what_it_works_with(person, role, sees, hidden):
    client = person(role)

    assert {client.get(listed(name)).status_code for name in sees} == {200}
    assert {client.get(listed(name)).status_code for name in hidden} <= {403}


@pytest.mark.parametrize("role", ROLES)
def test_only_who_is_to_act_may_act(person, role, simulator):
    client = person(role)
    message = MessageFactory()
    chosen = f"?act=1&campaign={message.campaign_id}"

    asks = client.get(reverse("admin:messaging_bulkjob_ask") + chosen)
    pauses = client.get(
        reverse("admin:routing_provider_act", args=["TwilioSMS", "pause"])
    )
    adds_route = client.get(reverse("admin:routing_channelroutingconfig_add"))

    acts, rules = role != "Viewer", role == "Administrator"
    assert (asks.status_code, pauses.status_code) == (
        (200, 200) if acts else (403, 403)
    )
    assert adds_route.status_code == (200 if rules else 403)


def test_what_people_change_is_theirs(capsys):
    Group.objects.get(name="Viewer").permissions.clear()
    Group.objects.get(name="Operator").delete()
    before = AuditEvent.objects.count()

    call_command("migrate", verbosity=0)

    assert not Group.objects.get(name="Viewer").permissions.exists()
    operator = Group.objects.get(name="Operator")
    codenames = set(operator.permissions.values_list("codename", flat=True))
    assert {act.split(".")[1] for act in ACTS} <= codenames
    assert AuditEvent.objects.count() == before


def test_the_documents_describe_each_role():
    page = (Path(settings.BASE_DIR) / "docs/security.md").read_text()

    for role, may in ROLES.items():
        assert f"| {role} | {may} |" in page
