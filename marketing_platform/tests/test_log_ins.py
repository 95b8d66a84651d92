"""Logging in: guesses are limited and recorded, and lock no other user out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from marketing_platform.audit.models import AuditEvent
from marketing_platform.client_address import client_address, networks_of
from marketing_platform.diagnosis.doors import log_ins
from marketing_platform.diagnosis.findings import Level
from marketing_platform.log_ins.models import LogInThrottle
from marketing_platform.log_ins.throttling import give_back, take_turn
from marketing_platform.tokens import authentication
from marketing_platform.tokens.guesses import MOST_ADDRESSES, Guesses

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOG_IN = "/admin/login/?next=/admin/"
ADA, EVE = "192.0.2.1", "198.51.100.66"
SECOND = timedelta(seconds=1)


def log_in(client, password, username="admin", address=EVE):
    form = {"username": username, "password": password}
    return client.post(LOG_IN, form, REMOTE_ADDR=address)


def allowed(times, *, username="admin", address=EVE, now=NOW):
    turns = [
        take_turn(username=username, address=address, now=now) for _ in range(times)
    ]
    return sum(not turn.wait for turn in turns)


def acts():
    return [*AuditEvent.objects.order_by("id").values_list("action", "actor")]


def test_sixty_wrong_passwords_and_then_the_right_one_do_not_get_in(client, admin_user):
    answers = [log_in(client, f"guess {number}") for number in range(60)]

    assert "Too many attempts. Try again in 2 min." in answers[-1].text
    assert log_in(client, "password").status_code == 200
    failures = [act for act, _ in acts() if act.startswith("log-in")]
    assert failures == ["log-in failed"] * 5 + ["log-in blocked"]


def test_the_owner_gets_in_from_elsewhere_meanwhile(client, admin_user):
    for number in range(20):
        log_in(client, f"guess {number}", address=EVE)

    assert log_in(client, "password", address=ADA).status_code == 302
    assert acts()[-1] == ("log in", "admin")


def test_the_right_password_gives_the_turns_back(client, admin_user):
    for _ in range(3):
        for number in range(4):
            log_in(client, f"guess {number}")
        assert log_in(client, "password").status_code == 302
        client.post("/admin/logout/", REMOTE_ADDR=EVE)

    assert ("log out", "admin") in acts()


def test_what_is_typed_as_a_name_is_kept_only_if_there_is_such(
    client, admin_user, caplog
):
    log_in(client, "x", username="correct horse")
    log_in(client, "x", username="admin")

    assert [actor for act, actor in acts() if act == "log-in failed"] == [
        "(no such user)",
        "admin",
    ]
    assert "correct horse" not in caplog.text + str([*AuditEvent.objects.values()])


def test_turns_come_back_with_time():
    assert allowed(9) == 5
    assert allowed(9, now=NOW + 119 * SECOND) == 0
    assert allowed(9, now=NOW + 120 * SECOND) == 1
    assert allowed(9, now=NOW + timedelta(hours=1)) == 5


def test_many_names_from_one_address_are_bounded():
    assert sum(allowed(1, username=f"user{number}") for number in range(60)) == 30
    assert allowed(1, username="ada", address=ADA) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::2", True),  # a /64 belongs to one caller
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_caller_is_an_address_or_a_network_of_ipv6(one, other, is_same):
    allowed(9, address=one)

    assert allowed(9, address=other) == (0 if is_same else 5)


def test_spellings_of_a_name_share_their_turns():
    assert allowed(3, username="Admin") + allowed(9, username="admin") == 5


def test_rows_of_strangers_do_not_pile_up():
    for number in range(25):
        take_turn(username=f"user{number}", address=EVE, now=NOW)

    take_turn(username="ada", address=ADA, now=NOW + timedelta(days=1))

    assert LogInThrottle.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_time_count_as_well():
    if connection.vendor != "postgresql":
        pytest.skip("an in-memory SQLite database has one connection")

    def guess(_):
        try:
            return take_turn(username="admin", address=EVE, now=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(guess, range(24)))

    assert sum(not turn.wait for turn in turns) == 5
    assert sum(turn.is_news for turn in turns) == 1
    give_back(username="admin", address=EVE)


def test_the_doctor_tells_of_guesses(client, admin_user):
    assert log_ins(timezone.now()).level == Level.OK
    for number in range(7):
        log_in(client, f"guess {number}")

    finding = log_ins(timezone.now())

    assert finding.level == Level.WARN
    assert "5, from 1" in finding.text or "6, from 1" in finding.text


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),  # forged by the caller
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "1.1.1.1, 203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("10.0.0.2", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.2", "[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:10.0.0.2", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "unknown", "10.0.0.2"),
        ("10.0.0.2", "203.0.113.9, <script>", "10.0.0.2"),
        ("10.0.0.2", "10.0.0.4", "10.0.0.4"),
        ("", "203.0.113.9", "203.0.113.9"),  # a proxy at a Unix socket
        ("", "", ""),
        ("10.0.0.2", ", " * 5000, "10.0.0.2"),
    ],
)
def test_the_caller_is_the_nearest_that_is_no_proxy_of_ours(
    settings, peer, forwarded, address
):
    settings.TRUSTED_PROXIES = networks_of(["127.0.0.1", "::1", "10.0.0.0/8"])
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)

    assert client_address(request) == address


def test_made_up_tokens_are_slowed_down_and_real_ones_are_not(api, monkeypatch, caplog):
    monkeypatch.setattr(authentication, "guesses", Guesses())
    stranger = APIClient(headers={"Authorization": "Bearer mp_live_guess"})
    answers = [
        stranger.get("/api/messages", REMOTE_ADDR=f"2001:db8::{number:x}")
        for number in range(110)  # of one network, which belongs to one caller
    ]

    assert [answer.status_code for answer in answers[:100]] == [401] * 100
    assert answers[-1].status_code == 429
    assert int(answers[-1]["Retry-After"]) >= 1
    assert api("read").get("/api/messages").status_code == 200
    assert caplog.text.count("many tokens that do not exist") == 1
    assert [act for act, _ in acts()].count("guess tokens") == 1


def test_guesses_from_many_addresses_take_no_room_without_end():
    guesses = Guesses()
    for number in range(MOST_ADDRESSES + 500):
        guesses.note(f"address {number}", now=NOW)

    assert len(guesses._throttles) == MOST_ADDRESSES


def test_news_of_guesses_are_bounded():
    guesses = Guesses()
    news = [
        guesses.note(f"address {number % 99}", now=NOW).is_news
        for number in range(99 * 102)
    ]

    assert sum(news) == 60
