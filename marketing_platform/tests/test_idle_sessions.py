"""Sessions end when nobody uses them, and when the password changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent
from marketing_platform.environment import Environment, ImproperlyConfigured
from marketing_platform.log_ins import idle

pytestmark = pytest.mark.django_db
PAGE = "/admin/password_change/"


@pytest.fixture
def after(monkeypatch):
    """Move the clock of sessions on."""
    begin, passed = timezone.now(), timedelta()

    def move(**by):
        nonlocal passed
        passed += timedelta(**by)
        monkeypatch.setattr(timezone, "now", lambda: begin + passed)
        monkeypatch.setattr(idle.time, "time", lambda: (begin + passed).timestamp())

    move()
    return move


def gets_in(client, **headers):
    return client.get(PAGE, headers=headers).status_code == 200


def test_a_session_that_nobody_uses_ends(admin_client, after):
    after(minutes=59)
    assert gets_in(admin_client)

    after(minutes=61)
    assert not gets_in(admin_client)


def test_a_session_that_is_used_goes_on(admin_client, after):
    for _ in range(5):
        after(minutes=45)
        assert gets_in(admin_client)


def test_a_page_that_refreshes_itself_keeps_no_session(admin_client, after):
    after(minutes=45)
    assert gets_in(admin_client, HX_Request="true")

    after(minutes=16)
    assert not gets_in(admin_client)


def test_a_clock_that_is_set_back_ends_no_session(admin_client, after):
    after(days=-1)
    assert gets_in(admin_client)
    for _ in range(3):
        after(minutes=45)
        assert gets_in(admin_client)


def test_use_is_stored_once_a_minute_at_most(admin_client, after):
    def writes():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            gets_in(admin_client)
        return sum("UPDATE" in each["sql"] for each in queries)

    after(seconds=61)
    assert [writes(), writes()] == [1, 0]
    after(seconds=61)
    assert writes() == 1


def test_visitors_get_no_session(client):
    assert client.get("/admin/login/").status_code == 200
    assert not Session.objects.exists()


@pytest.mark.parametrize("number", ["1", "0", "-5"])
def test_a_time_out_that_would_log_everyone_out_is_refused(monkeypatch, number):
    monkeypatch.setenv("SESSION_IDLE_MINUTES", number)

    with pytest.raises(ImproperlyConfigured, match="SESSION_IDLE_MINUTES must be a"):
        Environment().at_least(2, "SESSION_IDLE_MINUTES", default=60)


def test_the_default_is_an_hour():
    assert settings.SESSION_COOKIE_AGE == 3600


def test_a_password_set_by_an_administrator_ends_the_users_sessions(admin_client):
    ada = User.objects.create_user("ada", password="x", is_staff=True)
    hers = Client()
    hers.force_login(ada)
    assert gets_in(hers)

    new = "correct horse battery staple"
    form = {"usable_password": "true", "password1": new, "password2": new}
    answer = admin_client.post(f"/admin/auth/user/{ada.pk}/password/", form)

    assert answer.status_code == 302
    assert not gets_in(hers)
    assert gets_in(admin_client)
    event = AuditEvent.objects.filter(action="change").latest("id")
    assert (event.actor, event.object_id) == ("admin", str(ada.pk))
    assert event.changes == {"password": ["(secret)", "(secret)"]}
