"""Tokens: issued once, stored as digests, limited by scopes and a rate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from marketing_platform.models import ApiToken
from marketing_platform.tokens.services import issue_token, revoke_tokens, take_turn
from marketing_platform.tokens.vocabulary import (
    TokenScope,
    UnreadableExpiry,
    read_expiry,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Undeclared(APIView):
    """A view whose author forgot its scope."""

    def get(self, request):
        return Response("hello")


class ForReaders(Undeclared):
    required_scope = "read"


class ForSenders(Undeclared):
    required_scope = "send"


class ForAdmins(Undeclared):
    required_scope = "admin"


class ForMonitors(Undeclared):
    required_scope = "monitor"


class ByAction(ViewSet):
    required_scope = {"list": "read", "create": "send"}

    def list(self, request):
        return Response("listed")

    def create(self, request):
        return Response("created")

    def destroy(self, request):
        return Response("destroyed")


by_action = ByAction.as_view({"get": "list", "post": "create", "delete": "destroy"})


def call(view, text="", method="get", header="Bearer {}"):
    """The response to a request with this token."""
    headers = {"Authorization": header.format(text)} if text else {}
    request = getattr(APIRequestFactory(), method)("/", headers=headers)
    return view(request)


def only_token():
    return ApiToken.objects.get()


def test_the_text_is_printed_once_and_only_its_digest_is_kept(capsys, admin_user):
    call_command("issue_token", "admin", "--scope=send", "--name=shop")

    text = capsys.readouterr().out.strip()
    token = only_token()
    assert text.startswith("mp_live_")
    assert len(text) == len("mp_live_") + 43  # 32 bytes in base64
    assert (token.get_scope_display(), token.name) == ("Send", "shop")
    assert text.startswith(token.prefix)
    assert text[len(token.prefix) :] not in str(vars(token))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody"], "There is no user 'nobody'"),
        (["admin", "--expires=soon"], "'soon' is not an expiry: give days such as 90d"),
        (["admin", "--expires=2020-01-01"], "2020-01-01 is already in the past."),
        (["admin", "--scope=root"], "invalid choice: 'root'"),
    ],
)
def test_a_token_that_would_not_work_is_not_issued(admin_user, arguments, says):
    with pytest.raises(CommandError) as error:
        call_command("issue_token", *arguments)

    assert says in str(error.value)
    assert not ApiToken.objects.exists()


def test_a_user_who_left_gets_no_token(admin_user):
    admin_user.is_active = False
    admin_user.save()

    with pytest.raises(CommandError, match="admin is not active"):
        call_command("issue_token", "admin")


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("never", None),
        ("90d", NOW + timedelta(days=90)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T08:30:00+02:00", datetime(2027, 1, 31, 6, 30, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_days_a_moment_or_never(text, expires_at):
    assert read_expiry(text, now=NOW) == expires_at


@pytest.mark.parametrize("text", ["", "0d", "-1d", "90", "2027-02-30", "tomorrow"])
def test_an_expiry_that_cannot_be_read_is_refused(text):
    with pytest.raises(UnreadableExpiry):
        read_expiry(text, now=NOW)


@pytest.mark.parametrize(
    ("view", "allowed"),
    [
        (ForReaders, ["read", "send", "admin"]),
        (ForSenders, ["send", "admin"]),
        (ForAdmins, ["admin"]),
        (ForMonitors, ["admin", "monitor"]),
        (Undeclared, []),
    ],
)
def test_a_scope_includes_the_lower_ones(token, view, allowed):
    answers = {
        scope: call(view.as_view(), token(scope)).status_code
        for scope in ("read", "send", "admin", "monitor")
    }

    assert [scope for scope, status in answers.items() if status == 200] == allowed
    assert set(answers.values()) <= {200, 403}


def test_a_refusal_says_which_scope_is_missing(token):
    answer = call(ForAdmins.as_view(), token("read"))

    assert (
        answer.data["detail"] == "This needs a token with scope admin; yours has read."
    )


@pytest.mark.parametrize(
    ("method", "status"), [("get", 200), ("post", 403), ("delete", 403), ("put", 405)]
)
def test_each_action_has_a_scope_and_one_without_is_closed(token, method, status):
    assert call(by_action, token("read"), method).status_code == status


def test_an_action_without_scope_is_closed_even_to_administrators(token):
    assert call(by_action, token("admin"), "delete").status_code == 403


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("", ""),
        ("mp_live_made_up", "Bearer {}"),
        ("mp_live_ümlaut", "Bearer {}"),
        (" ", "Bearer {}"),
        ("YWRtaW46YWRtaW4=", "Basic {}"),
    ],
)
def test_what_is_no_token_is_answered_401_with_the_way_to_log_in(text, header):
    answer = call(ForReaders.as_view(), text, header=header)

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_session_of_the_back_office_opens_nothing(admin_client):
    assert admin_client.get("/api/nothing").status_code == 404
    assert call(ForReaders.as_view()).status_code == 401


def test_an_expired_token_says_so(token):
    text = token("admin", expires_at=NOW - SECOND)

    answer = call(ForReaders.as_view(), text)

    assert answer.status_code == 401
    assert answer.data["detail"] == "This token expired at 2026-06-01 11:59 UTC."


def test_a_revoked_token_stops_working_at_once(token):
    text = token("admin")
    assert call(ForReaders.as_view(), text).status_code == 200

    assert revoke_tokens([only_token()], now=NOW) == 1

    assert call(ForReaders.as_view(), text).status_code == 401
    assert revoke_tokens([only_token()], now=NOW) == 0


def test_the_token_of_a_user_who_left_does_not_work(token):
    text = token("admin")
    user = only_token().user
    user.is_active = False
    user.save()

    assert call(ForReaders.as_view(), text).status_code == 401


def test_the_last_use_is_written_at_most_once_a_minute(token):
    token("read")
    for after in (0, 59, 60):
        ApiToken.objects.note_use(only_token(), now=NOW + after * SECOND)
        if after == 59:
            assert only_token().last_used_at == NOW

    assert only_token().last_used_at == NOW + timedelta(minutes=1)


def test_a_token_that_calls_too_fast_waits_its_turn(token, settings):
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.1, 2
    text = token("read")

    answers = [call(ForReaders.as_view(), text) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1]["Retry-After"]) <= 10
    assert call(ForReaders.as_view(), token("send")).status_code == 200


def test_the_turns_of_a_token_come_back_with_time(token, settings):
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.5, 1
    token("read")

    waits = [
        take_turn(only_token(), now=NOW + after * SECOND).total_seconds()
        for after in (0, 1, 2)
    ]

    assert waits == [0, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_processes_share_the_turns_of_a_token(token, settings):
    if connection.vendor != "postgresql":
        pytest.skip("an in-memory SQLite database has one connection")
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.001, 3
    token("read")

    def ask(_):
        try:
            return take_turn(only_token(), now=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(ask, range(16)))

    assert waits.count(timedelta(0)) == 3


def test_the_back_office_shows_the_prefix_and_no_digest(admin_client, token):
    text = token("admin")
    page = admin_client.get(reverse("admin:marketing_platform_apitoken_changelist"))
    row = reverse("admin:marketing_platform_apitoken_change", args=[only_token().pk])

    for shown in (page, admin_client.get(row)):
        assert only_token().prefix in shown.text
        assert only_token().digest not in shown.text
        assert text not in shown.text


def test_the_back_office_revokes_and_does_not_issue(admin_client, token):
    token("admin")
    page = reverse("admin:marketing_platform_apitoken_changelist")

    admin_client.post(page, {"action": "revoke", "_selected_action": [only_token().pk]})

    assert only_token().revoked_at is not None
    assert admin_client.get(f"{page}add/").status_code == 403


def test_two_tokens_of_one_user_are_told_apart(admin_user):
    issued = {"user": admin_user, "scope": TokenScope.READ, "expires_at": None}

    (first, text), (second, other) = issue_token(**issued), issue_token(**issued)

    assert ApiToken.objects.of_text(text) == first
    assert ApiToken.objects.of_text(other) == second
