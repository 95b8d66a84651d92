"""The front page of the back office: what is happening now."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from marketing_platform.back_office.dashboard import PANELS
from marketing_platform.back_office.findings import with_commands
from marketing_platform.back_office.links import LISTS, behind_finding
from marketing_platform.diagnosis.checks import CHECKS
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, WorkerHeartbeat
from messaging.vocabulary import CampaignStatus, WorkerKind
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import MinuteCount, ProviderHealth
from routing.rules.breaker import LAST_WAY_OUT, BreakerState
from routing.statistics.entries import compact_entries
from routing.tests.counted import happened, reached
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
PROVIDERS = {
    name: {"BACKEND": "routing.providers.memory.MemorySMS", "OPTIONS": {"TIMEOUT": 30}}
    for name in ("TwilioSMS", "VonageSMS")
}
FRONT = "/admin/"
QUERIES = 96  # of a full page, a third of them for what needs attention


@pytest.fixture(autouse=True)
def providers(settings):
    settings.MESSAGE_PROVIDERS = PROVIDERS


@pytest.fixture
def look(admin_client):
    """The front page as an administrator sees it."""
    return lambda: admin_client.get(FRONT)


@pytest.fixture
def bad_morning():
    """Twilio is down, a worker died, and several things need attention."""
    now = timezone.now()
    RouteFactory()
    worker(owner=1)
    worker(owner=2, age=10 * MINUTE)
    attempts(3, outcome=AttemptOutcome.REJECTED, error_class=ErrorClass.PROVIDER)
    attempts(1, error_class=ErrorClass.UNMAPPED, error_code="31337")
    attempts(1, error_class=ErrorClass.ACCOUNT, error_code="20003")
    attempts(4, provider="VonageSMS")
    today = f"{now:%Y-%m-%d}"
    happened(today)
    for _ in range(4):
        happened(today, outcome=AttemptOutcome.REJECTED)
        happened(today, provider="VonageSMS")
    compact_entries()
    ProviderHealth.objects.create(
        provider="TwilioSMS",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        reason="5 failures in a row",
        open_until=now + MINUTE,
    )
    autumn = CampaignFactory(name="Autumn sale", message_count=8)
    MessageFactory.create_batch(2, campaign=autumn, due_at=now - MINUTE)
    MessageFactory(campaign=autumn, due_at=now + MINUTE)
    MessageFactory(campaign=autumn, status=MessageStatus.SENT)
    MessageFactory(campaign=CampaignFactory(status=CampaignStatus.PAUSED))
    gone = {"campaign": autumn, "status": MessageStatus.FAILED}
    MessageFactory(quarantined_at=now, **gone)
    MessageFactory(double_risk_at=now, **gone)
    sending = {"campaign": autumn, "status": MessageStatus.SENDING}
    MessageFactory(lease_expires_at=now + MINUTE, **sending)
    MessageFactory(lease_expires_at=now + MINUTE, unknown_since=now, **sending)


def worker(*, owner, age=timedelta(0)):
    return WorkerHeartbeat.objects.create(
        owner=owner,
        kind=WorkerKind.COMMAND,
        host="sender-1",
        pid=owner,
        started_at=timezone.now() - age,
        beat_at=timezone.now() - age,
    )


def attempts(count, **fields):
    """`count` attempts of a minute ago."""
    message = MessageFactory(campaign__name="Long ago", status=MessageStatus.SENT)
    message.campaign.status = CampaignStatus.COMPLETED
    message.campaign.save()
    for number in range(1, count + 1):
        AttemptFactory(
            message=message,
            attempt_number=number,
            attempted_at=timezone.now() - MINUTE,
            **fields,
        )


def tile(page, label):
    (found,) = [each for each in page.context["tiles"] if each.label == label]
    return found.value, found.level


def row_of(page, provider):
    rows = page.context["providers"].used
    (found,) = [row for row in rows if row.status.overview.name == provider]
    return found


def may_see(client, django_user_model, *codenames):
    """A client of a staff member with these permissions."""
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    chosen = Permission.objects.filter(codename__in=codenames)
    viewer.user_permissions.set(chosen)
    client.force_login(viewer)
    return client


def test_it_tells_what_the_queue_holds(look, bad_morning):
    page = look()

    assert tile(page, "Due now") == ("2", "ok")
    assert tile(page, "Not due yet") == ("1", "ok")
    assert tile(page, "Being sent") == ("1", "ok")
    assert tile(page, "Outcome unknown") == ("1", "warn")
    assert tile(page, "Workers running") == ("1", "ok")


def test_each_page_says_by_which_clock_its_times_are(look, settings):
    settings.TIME_ZONE = "Europe/Berlin"

    page = look()

    assert "Times in Europe/Berlin" in page.text
    assert "View site" not in page.text


def test_a_queue_that_stands_still_is_seen_at_once(look, settings):
    MessageFactory(due_at=timezone.now() - 10 * MINUTE)

    page = look()

    assert tile(page, "Due now") == ("1", "fail")
    assert tile(page, "Workers running") == ("0", "fail")
    assert page.context["findings"].level == "fail"
    assert "has waited for 10 min, and none was sent in the last 5 min." in page.text


def test_it_tells_how_each_provider_is_doing(look, bad_morning):
    page = look()
    ill, well = row_of(page, "TwilioSMS"), row_of(page, "VonageSMS")

    assert (ill.level, well.level) == ("warn", "ok")
    assert "out of use until" in ill.state
    assert "traffic goes to VonageSMS" in ill.state
    assert ill.accepted == [(f"{n} min", "1 of 5 (20.0 %)") for n in (1, 5, 15)]
    assert ill.chart.bars[-1].title.endswith("5 attempts, 4 not accepted")
    assert len(ill.chart.bars) == 60
    assert ill.error == "Account 20003"
    assert (ill.delivered, ill.cost) == ("no receipts today", "0.05 USD")
    assert (well.p50, well.error) == ("102", "")


def test_what_can_be_done_with_a_provider_is_one_click_away(look, bad_morning):
    page = look()

    assert list(row_of(page, "TwilioSMS").status.overview.acts) == ["pause", "probe"]
    assert list(row_of(page, "VonageSMS").status.overview.acts) == ["pause"]
    assert "/admin/routing/providerpause/providers/TwilioSMS/pause/?next=now" in (
        page.text
    )


def test_who_may_not_act_gets_no_buttons(client, django_user_model, bad_morning):
    page = may_see(client, django_user_model, "view_providerhealth").get(FRONT)

    assert "TwilioSMS" in page.text
    assert "?next=now" not in page.text


def test_the_delivery_rate_comes_with_its_evidence(look, bad_morning):
    today = f"{timezone.now():%Y-%m-%d}"
    reached(MessageStatus.DELIVERED, today, times=3)
    reached(MessageStatus.BOUNCED, today)

    assert row_of(look(), "TwilioSMS").delivered == "75.0 % of 4"


def test_today_is_a_funnel_beside_yesterday_until_now(look):
    now = timezone.now()
    reached(MessageStatus.QUEUED, f"{now:%Y-%m-%d}", times=1200)
    reached(MessageStatus.SENT, f"{now:%Y-%m-%d}", times=1100)
    reached(MessageStatus.FAILED, f"{now:%Y-%m-%d}", times=60)
    reached(MessageStatus.SUPPRESSED, f"{now:%Y-%m-%d}", times=40)
    yesterday = {"channel": 1, "minute": now - timedelta(days=1) - MINUTE}
    MinuteCount.objects.create(queued=900, **yesterday)
    MinuteCount.objects.create(
        queued=5, **yesterday | {"minute": now - timedelta(hours=23)}
    )

    queued, sent, delivered, failed = look().context["today"]

    assert (queued.count, sent.count, delivered.count) == (1200, 1100, 0)
    # At midnight, yesterday until now is nothing yet.
    early = (now.hour, now.minute) <= (0, 1)
    assert queued.yesterday == f"{'none' if early else '900'} yesterday by now"
    assert sent.note == "91.7 % of those queued today"
    assert (failed.count, failed.width) == (60, 5)
    assert failed.note == "not counted: 40 suppressed"


def test_failures_are_grouped_by_what_went_wrong_last(look):
    now = timezone.now()
    lost = {"status": MessageStatus.FAILED, "provider": "TwilioSMS"}
    for number in range(3):
        message = MessageFactory(finished_at=now, **lost)
        error = {"error_class": ErrorClass.RECIPIENT, "error_code": "21211"}
        AttemptFactory(message=message, outcome=AttemptOutcome.REJECTED, **error)
        if number == 2:
            late = {"error_class": ErrorClass.RECIPIENT, "error_code": "30003"}
            ReceiptFactory(message=message, status=MessageStatus.FAILED, **late)
    MessageFactory(finished_at=now - timedelta(days=2), **lost)
    MessageFactory(finished_at=now, status_reason="No route.", **lost)

    groups = look().context["failures"].groups

    assert {(each.reason, each.count) for each in groups} == {
        ("Recipient 21211", 2),
        ("Recipient 30003", 1),
        ("No route.", 1),
    }


def test_a_provider_that_fails_with_no_other_left_is_not_green(look, bad_morning):
    ProviderHealth.objects.create(
        provider="VonageSMS", channel=Channel.SMS, reason=LAST_WAY_OUT
    )

    assert row_of(look(), "VonageSMS").level == "fail"


def test_a_provider_out_of_use_is_red_while_its_messages_wait(look, bad_morning):
    ProviderHealth.objects.create(
        provider="VonageSMS", channel=Channel.SMS, state=BreakerState.OPEN
    )

    ill = row_of(look(), "TwilioSMS")

    assert ill.level == "fail"
    assert "no other provider may be used" in ill.state


def test_a_provider_without_credentials_is_told_below_the_others(look, settings):
    backend = {"BACKEND": "routing.providers.twilio.TwilioSMS"}
    settings.MESSAGE_PROVIDERS = PROVIDERS | {"TwilioSMS": backend}

    page = look()

    (idle,) = page.context["providers"].idle
    assert idle.status.overview.name == "TwilioSMS"
    assert "TwilioSMS is not configured: it lacks" in page.text


def test_it_tells_how_far_campaigns_are(look, bad_morning):
    autumn, paused = look().context["campaigns"]

    assert autumn.progress == "3 of 8 waiting"
    assert (autumn.overview.gone, autumn.next_at) == (5, None)
    assert (paused.progress, paused.overview.gone) == ("1 waiting", None)
    assert paused.overview.is_paused


def test_it_tells_which_workers_live(look, bad_morning):
    alive, silent = look().context["workers"]

    assert (alive.is_alive, silent.is_alive) == (True, False)
    assert silent.age == "10 min"


def test_it_tells_today_and_the_last_seven_days_of_each_channel(look):
    days = [timezone.now() - timedelta(days=ago) for ago in (0, 6, 7)]
    for day in days:
        happened(f"{day:%Y-%m-%d}")

    (sms,) = look().context["channels"]

    assert [bar.title.split(": ")[1] for bar in sms.chart.bars] == [
        "1 attempts",
        *["0 attempts"] * 5,
        "1 attempts",
    ]


def test_everything_that_needs_attention_is_shown_with_a_link(look, bad_morning):
    page = look()
    links = {each.href for each in page.context["findings"].problems}

    for check in (
        "unmapped_errors",
        "account_errors",
        "quarantine",
        "possible_duplicates",
        "unknown_outcomes",
        "breakers",
        "paused_campaigns",
    ):
        assert behind_finding(check) in links


def test_all_links_lead_somewhere(look, admin_client, bad_morning):
    page = look()
    links = {unescape(link) for link in re.findall(r'href="(/admin/[^"]*)"', page.text)}

    assert len(links) > 20
    for link in links - {reverse("admin:logout")}:
        assert admin_client.get(link).status_code == 200, link


def test_the_list_behind_a_finding_has_what_was_found(admin_client, bad_morning):
    for check in (
        "quarantine",
        "possible_duplicates",
        "unknown_outcomes",
        "unmapped_errors",
    ):
        listed = admin_client.get(behind_finding(check))

        assert listed.context["cl"].result_count == 1, check


def test_only_checks_that_there_are_have_a_list_behind_them():
    assert LISTS.keys() <= CHECKS.keys()


def test_a_fresh_installation_is_told_what_to_do_first(look):
    page = look()
    steps = page.context["findings"].first_steps

    assert [step.is_done for step in steps] == [False, False, False]
    assert "<code>python manage.py loaddata default_routes</code>" in page.text
    assert "No campaigns are under way." in page.text


def test_first_steps_are_ticked_off_and_gone_after_the_first_attempt(look):
    RouteFactory()
    CampaignFactory()
    steps = look().context["findings"].first_steps
    assert [step.is_done for step in steps] == [True, False, True]

    attempts(1)
    assert look().context["findings"].first_steps == []


def test_it_says_so_when_all_is_well(look):
    RouteFactory()
    worker(owner=1)
    attempts(1)

    assert (
        f"All is well: nothing needs attention. Checks: {len(CHECKS)}." in look().text
    )


@pytest.mark.parametrize(
    ("panel", "permission"), [(n, p) for n, (p, _) in PANELS.items()]
)
def test_each_panel_is_for_who_may_see_what_it_is_about(
    client, django_user_model, bad_morning, panel, permission
):
    codename = permission.split(".")[1]

    page = may_see(client, django_user_model, codename).get(FRONT)

    allowed = {name for name, (needed, _) in PANELS.items() if needed == permission}
    assert {name for name in PANELS if name in page.context} == allowed
    assert panel in allowed


def test_who_may_see_none_of_it_gets_the_lists(client, django_user_model):
    page = may_see(client, django_user_model, "view_user").get(FRONT)

    assert page.status_code == 200
    assert "What is happening now" not in page.text
    assert reverse("admin:auth_user_changelist") in page.text


def test_nobody_else_gets_in(client):
    assert client.get(FRONT).status_code == 302


def test_it_takes_no_more_queries_however_many_messages_there_are(
    look, bad_morning, django_assert_max_num_queries
):
    look()  # for what is read once per process
    due = {"due_at": timezone.now() - MINUTE}
    autumn = Campaign.objects.get(name="Autumn sale")
    MessageFactory(campaign=autumn, **due)
    with django_assert_max_num_queries(QUERIES) as before:
        look()
    attempts(30)
    MessageFactory.create_batch(30, campaign=autumn, **due)

    with django_assert_max_num_queries(len(before)):
        look()


def test_the_page_asks_for_its_news_by_itself(admin_client):
    page = admin_client.get(FRONT)
    news = admin_client.get(FRONT, headers={"HX-Request": "true"})

    assert 'hx-trigger="every 5s"' in page.text
    assert news.text.lstrip().startswith('<div id="now"')
    assert "<html" not in news.text
    assert 'hx-trigger="every 5s"' in news.text


def test_it_stops_asking_when_it_should(admin_client):
    assert "hx-trigger" not in admin_client.get(FRONT, {"live": "0"}).text


def test_commands_are_set_apart_and_everything_is_escaped():
    shown = with_commands("Run `a <b>` or <c> `d`.")

    assert shown == "Run <code>a &lt;b&gt;</code> or &lt;c&gt; <code>d</code>."
