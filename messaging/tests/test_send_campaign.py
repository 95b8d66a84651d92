"""manage.py send_campaign, as people run it."""

from __future__ import annotations

import contextlib
import csv
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from messaging.consent.opt_outs import opt_out
from messaging.consent.suppression import suppress
from messaging.models import Campaign, CampaignMessage
from messaging.rules.quiet_hours import QuietHours
from messaging.tests.test_processor import drain
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.factories import RouteFactory
from routing.vocabulary import CampaignKind, Channel, MessageStatus

MANAGE = str(settings.BASE_DIR / "manage.py")
ANN, BOB = "+14155552671", "+14155552672"


@pytest.fixture
def csv_file(tmp_path):
    """Makes recipients.csv from its lines."""

    def make(*lines):
        path = tmp_path / "recipients.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture
def run(csv_file):
    """Runs the command, by default on two good recipients."""

    def run(*extra, **options):
        if "recipients" not in options:
            options["recipients"] = csv_file(
                "phone,email,name",
                f"{ANN},ann@example.com,Ann",
                f"{BOB},bob@example.com,Bob",
            )
        options = {"channel": "sms", "name": "Spring", "body": "Hello"} | options
        arguments = [f"--{name}={value}" for name, value in options.items()]
        out = StringIO()
        call_command("send_campaign", *arguments, *extra, stdout=out)
        return out.getvalue()

    return run


def refusal_of(run, *extra, **options):
    """The one line that the command refuses with; the database must be untouched."""
    with pytest.raises(CommandError) as refusal:
        run(*extra, **options)
    assert len(str(refusal.value).splitlines()) == 1
    assert Campaign.objects.count() == CampaignMessage.objects.count() == 0
    return str(refusal.value)


def test_it_says_what_it_queued(route, run):
    out = run()

    campaign = Campaign.objects.get()
    assert out == f"Campaign {campaign.pk}: 2 messages queued, 0 rows rejected.\n"
    assert campaign.messages.count() == 2


def test_it_warns_of_empty_fields_and_of_fields_of_other_systems(
    route, run, csv_file, capsys
):
    file = csv_file("phone,name", f"{ANN},", f"{BOB},Bob")

    run(recipients=file, body="Hi {{name}} *|LNAME|*")

    assert capsys.readouterr().err.splitlines() == [
        "Blank name: 1 recipient.",
        "Sent unchanged: *|LNAME|*. Write fields as {{first_name}}.",
    ]


def test_rows_that_leave_a_field_empty_may_be_rejected(route, run, csv_file):
    file = csv_file("phone,name", f"{ANN},", f"{BOB},Bob")

    out = run("--reject-blank", recipients=file, body="Hi {{name}}")

    assert "1 message queued, 1 row rejected" in out


def test_it_makes_no_file_of_rejected_rows_when_there_are_none(route, run, tmp_path):
    (tmp_path / "recipients.rejected.csv").write_text("of an earlier run")

    run()

    assert [each.name for each in tmp_path.iterdir()] == ["recipients.csv"]


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
@pytest.mark.parametrize("said", ["once more", "{{unknown}}"])
def test_a_refused_run_leaves_the_rejected_rows_that_somebody_mends(
    route, run, csv_file, tmp_path, extra, said
):
    file = csv_file("phone", ANN, "hello")
    run(recipients=file, body="once more")
    mended = tmp_path / "recipients.rejected.csv"
    mended.write_text(f"phone\n{BOB}\n")

    with pytest.raises(CommandError):
        run(*extra, recipients=file, body=said)

    assert mended.read_text() == f"phone\n{BOB}\n"


def test_it_writes_rejected_rows_to_a_file_with_line_and_reason(
    route, run, csv_file, tmp_path
):
    file = csv_file("phone,note", f'{ANN},"a\nb"', '"x,y",', f"{ANN},again")

    out = run(recipients=file)

    rejected = tmp_path / "recipients.rejected.csv"
    assert out.endswith(
        f"1 message queued, 2 rows rejected. The rejected rows are in {rejected}.\n"
    )
    with rejected.open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["line", "reason", "phone", "note"],
            [
                "4",
                "'x,y' is not a valid phone number with its +country code",
                "x,y",
                "",
            ],
            ["5", "duplicate recipient", f"'{ANN}", "again"],
        ]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["name", "line", "Reason"])
def test_rejected_rows_can_be_mended_in_their_file_and_sent(
    route, run, csv_file, mark, name
):
    formula, body = "=cmd|' /C calc'!A0", f"{{{{{name}}}}}"
    file = csv_file(f"{mark}phone;{name};x", f"{BOB};Bob;", f"+1415x;{formula};-1")
    run(recipients=file, body=body)
    rejected = file.with_name("recipients.rejected.csv")
    text = rejected.read_text(encoding="utf-8")

    rejected.write_text(text.replace("'+1415x", f"'{ANN}"), encoding="utf-8")
    run(recipients=rejected, body=body)

    assert text.startswith(mark)
    assert f"'{formula};'-1" in text
    assert CampaignMessage.objects.get(recipient=ANN).body == formula


def test_a_dry_run_tells_what_would_leave_and_queues_nothing(
    route, run, csv_file, settings
):
    settings.MESSAGE_PROVIDERS["TwilioSMS"]["OPTIONS"] = {
        "UNIT_PRICE": "0.0079",
        "CURRENCY": "USD",
    }
    opt_out("+14155552673", source="STOP")
    rows = [f"{ANN},Ann", f"{BOB},{'x' * 200}", f"{ANN},Ann", "12,x", "13,x"]
    file = csv_file("phone,name", *rows, "+14155552673,Cy")

    out = run("--dry-run", recipients=file, body="Hi {{name}}\x1b[2J")

    assert out.splitlines() == [
        "2 messages would leave, 5 segments.",
        "1 message would be suppressed.",
        "3 rows rejected.",
        "  2: ... is not a valid phone number with its +country code; a national "
        "number needs its country, in a column country or with --default-region",
        "  1: duplicate recipient",
        "By TwilioSMS: 2, 0.0395 USD.",
        f"Line 2, to {ANN}:",
        r"  Hi Ann\x1b[2J",
        "Dry run: nothing was queued. The rejected rows are in "
        f"{file.with_name('recipients.rejected.csv')}.",
    ]
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("scope", SuppressionScope)
@pytest.mark.parametrize("kind", CampaignKind)
def test_a_dry_run_counts_as_suppressed_what_the_gate_would_hold_back(
    route, run, csv_file, scope, kind
):
    options = {"recipients": csv_file("phone", ANN, BOB), "kind": kind.name.lower()}
    suppress([ANN, BOB], reason=SuppressionReason.MANUAL, source="x", scope=scope)

    foretold = "2 messages would be suppressed." in run("--dry-run", **options)
    run(**options)
    drain()

    status = {each.status for each in CampaignMessage.objects.all()}
    assert status == {MessageStatus.SUPPRESSED if foretold else MessageStatus.SENT}


@pytest.mark.parametrize("change", ["nothing", "the file's name", "its content"])
def test_a_second_campaign_of_the_same_name_and_file_is_refused(
    route, run, csv_file, change
):
    file = csv_file("phone", ANN)
    run(recipients=file)
    if change == "the file's name":
        file = file.rename(file.with_name("other.csv"))
    elif change == "its content":
        file = csv_file("phone", ANN, BOB)

    for extra in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match=r"same file.* add --again"):
            run(*extra, recipients=file)
    assert Campaign.objects.count() == 1
    run(recipients=file, name="Summer")
    run("--again", recipients=file)
    assert Campaign.objects.count() == 3


@pytest.mark.parametrize(("answer", "made"), [("y", 2), ("", 1), ("no", 1)])
def test_at_a_terminal_it_asks_whether_a_second_one_is_meant(
    route, run, csv_file, monkeypatch, answer, made
):
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    file = csv_file("phone", ANN)
    run(recipients=file)

    with contextlib.suppress(CommandError):
        run(recipients=file)

    assert Campaign.objects.count() == made


class Terminal(StringIO):
    """Somebody at a keyboard."""

    def isatty(self):
        return True


def test_it_names_the_file_of_reasons_when_no_row_can_be_used(route, run, csv_file):
    file = csv_file("phone", "hello")

    says = refusal_of(run, recipients=file)

    rejected = file.with_name("recipients.rejected.csv")
    assert says.startswith(f"{file} has no usable row")
    assert str(rejected) in says
    assert "'hello' is not a valid phone number" in rejected.read_text()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("lines", [["phone,name"], ["", "phone,name", "", " , "]])
def test_a_file_without_rows_is_refused_as_such(route, run, csv_file, lines, more):
    file = csv_file(*lines)

    says = refusal_of(run, *more, recipients=file)

    assert says == (f"{file} has no rows after the header.")


def test_a_dry_run_of_rows_that_cannot_be_used_says_why(route, run, csv_file):
    out = run("--dry-run", recipients=csv_file("phone", "hello"))

    assert "1 row rejected.\n  1: ... is not a valid phone number" in out


def test_national_numbers_are_read_with_the_default_region(route, run, csv_file):
    run("--default-region=DE", recipients=csv_file("phone", "0151 12345678"))

    assert CampaignMessage.objects.get().recipient == "+4915112345678"


@pytest.mark.parametrize("channel", ["sms", "SMS", "Sms"])
def test_a_channel_may_be_written_in_any_case(route, run, channel):
    run(channel=channel)

    assert Campaign.objects.get().channel == Channel.SMS


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("2130-01-31T09:00+01:00", datetime(2130, 1, 31, 8, 0, tzinfo=UTC)),
        ("2130-01-31T09:00Z", datetime(2130, 1, 31, 9, 0, tzinfo=UTC)),
        ("2130-01-31 09:00", datetime(2130, 1, 31, 8, 0, tzinfo=UTC)),
        ("2130-07-31T09:00:00", datetime(2130, 7, 31, 7, 0, tzinfo=UTC)),
    ],
)
def test_a_schedule_without_an_offset_is_in_the_installations_time_zone(
    route, run, settings, schedule, expected
):
    settings.TIME_ZONE = "Europe/Berlin"

    run(schedule=schedule)

    assert set(CampaignMessage.objects.values_list("due_at")) == {(expected,)}


def test_it_says_when_a_scheduled_campaign_leaves(route, run, settings):
    settings.TIME_ZONE = "Europe/Berlin"

    out = run(schedule="2130-01-31T08:00Z")

    assert "Sending starts at 2130-01-31 09:00 CET." in out


@pytest.mark.parametrize(
    "schedule",
    [
        "tomorrow",
        "",
        "2130-02-30T09:00",
        "2130-01-31T25:00",
        "09:00",
        "2130-01-31T09:00 CET",
        "9999-12-31T23:59-12:00",
        "9999-12-31T23:59",
        "0001-01-01T00:00+12:00",
    ],
)
def test_a_schedule_that_is_no_time_is_refused(route, run, settings, schedule):
    settings.TIME_ZONE = "America/New_York"

    says = refusal_of(run, schedule=schedule)

    assert says.startswith(f"--schedule {schedule!r} is not a time such as 2030-")


def test_it_may_expire_and_go_before_other_campaigns(route, run):
    run(expires="2130-01-31T09:00Z", priority=99)

    campaign = Campaign.objects.get()
    assert campaign.priority == 99
    assert campaign.expires_at == datetime(2130, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize("priority", ["100", "-1", "high", "9.5"])
def test_a_priority_beyond_those_of_campaigns_is_refused(route, run, priority):
    says = refusal_of(run, priority=priority)

    assert f"{priority!r} is not a number from 0 to 99" in says


NIGHT, SIESTA = QuietHours.parse("21:00-08:00"), QuietHours.parse("13:00-15:00")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NIGHT),  # the installation's
        ({"quiet-hours": "13:00-15:00"}, SIESTA),
        ({"quiet-hours": "none"}, None),
        ({"kind": "transactional"}, None),
    ],
)
def test_quiet_hours_are_the_installations_unless_told_otherwise(
    route, run, settings, options, expected
):
    settings.QUIET_HOURS = NIGHT

    out = run(**options)

    assert Campaign.objects.get().quiet_hours == expected
    assert (f"Quiet hours: {expected}," in out) == (expected is not None)


def test_an_installation_has_no_quiet_hours_unless_it_sets_some(route, run):
    run()

    assert Campaign.objects.get().quiet_hours is None


def test_a_schedule_in_the_past_is_refused(route, run):
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)

    says = refusal_of(run, schedule=an_hour_ago.isoformat())

    past = f"The scheduled time {an_hour_ago.isoformat()} is in the past."
    assert says == f"{past} Leave it out to send at once."


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel": "fax"}, "Unknown channel 'fax'. Channels are: sms, mms, email."),
        ({"channel": "0"}, "Unknown channel '0'. Channels are: sms, mms, email."),
        ({"subject": "News"}, "SMS has no subject. Leave it out."),
        ({"channel": "email"}, "An e-mail needs a subject."),
        ({"channel": "mms"}, "An MMS needs at least one media URL."),
        ({"media": "https://example.com/a.png"}, "SMS carries no media. Use MMS."),
        (
            {"channel": "mms", "media": "http://example.com/a.png"},
            "The media URL 'http://example.com/a.png' is not an https URL of plain "
            "ASCII characters with a host and a path. Put the file on a public host, "
            "such as https://cdn.example.com/a.jpg.",
        ),
        (
            {"body": "Hi {{surname}}"},
            "The text uses {{surname}}, but there is no such column. Columns: phone, "
            "email, name.",
        ),
        ({"body": " "}, "The body is empty."),
        ({"name": ""}, "A campaign needs a name of at most 200 characters."),
        (
            {"quiet-hours": "at night"},
            "--quiet-hours: 'at night' is not a span such as 21:00-08:00, in the "
            "recipients' local time.",
        ),
        (
            {"quiet-hours": "08:00-08:00"},
            "--quiet-hours: Quiet hours must not end at the time that they begin. Use "
            "times such as 21:00-08:00.",
        ),
        (
            {"kind": "transactional", "quiet-hours": "21:00-08:00"},
            "A transactional campaign has no quiet hours, because recipients wait for "
            "it. Leave them out.",
        ),
        (
            {"default-region": "Mars"},
            "The default region 'MARS' is not a country code such as DE or US.",
        ),
        (
            {"recipients": "/nowhere.csv"},
            "/nowhere.csv cannot be read: No such file or directory.",
        ),
        ({"recipients": "."}, ". cannot be read: Is a directory."),
        ({"recipients": ""}, ". cannot be read: Is a directory."),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(route, run, options, says):
    assert refusal_of(run, **options) == says


@pytest.mark.parametrize("option", ["name", "body", "subject", "media", "schedule"])
def test_arguments_that_are_not_utf8_are_refused_in_one_line(route, run, option):
    channel = {"subject": "email", "media": "mms"}.get(option, "sms")
    as_argv_has_it = b"https://example.com/caf\xe9".decode("utf-8", "surrogateescape")

    assert refusal_of(run, **{"channel": channel, option: as_argv_has_it})


@pytest.mark.django_db
def test_a_channel_without_a_route_is_refused_with_what_to_do(run):
    says = refusal_of(run)

    assert says == (
        "There is no active route for SMS. Add one in the admin, or run "
        "`manage.py loaddata default_routes`."
    )


@pytest.mark.django_db
def test_a_provider_without_credentials_is_refused_with_what_it_lacks(run, settings):
    settings.MESSAGE_PROVIDERS = {
        "TwilioSMS": {
            "BACKEND": "routing.providers.twilio.TwilioSMS",
            "OPTIONS": {"ACCOUNT_SID": "AC1", "AUTH_TOKEN": "", "FROM": ""},
        }
    }
    RouteFactory(fallback_provider="", enable_fallback=False)

    says = refusal_of(run)

    assert "TwilioSMS is not configured: it lacks AUTH_TOKEN, FROM" in says


def test_a_file_for_rejected_rows_that_cannot_be_written_is_refused(
    route, run, csv_file, tmp_path
):
    (tmp_path / "recipients.rejected.csv").mkdir()

    says = refusal_of(run, recipients=csv_file("phone", ANN, "hello"))

    assert "recipients.rejected.csv cannot be written" in says


def test_an_e_mail_campaign_has_a_subject_for_each_recipient(run, route, settings):
    settings.MESSAGE_PROVIDERS = {
        "Mail": {"BACKEND": "routing.providers.memory.MemoryEmail"}
    }
    RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="Mail",
        fallback_provider="",
        enable_fallback=False,
    )

    run(channel="email", subject="For {{name}}")

    messages = CampaignMessage.objects.order_by("id")
    assert [(each.recipient, each.subject) for each in messages] == [
        ("ann@example.com", "For Ann"),
        ("bob@example.com", "For Bob"),
    ]


@pytest.mark.django_db(transaction=True)
def test_watch_stays_until_every_message_has_left(route, run, capsys, settling):
    run("--watch")

    assert capsys.readouterr().out.splitlines() == [
        "2 queued (no worker: start `manage.py process_queue --watch`)",
        "2 delivered.",
    ]


@pytest.fixture
def settling(settings):
    """Messages are delivered as soon as their progress has been read once."""

    from django.db import connection

    def deliver_after_a_look(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "COUNT" in sql and "GROUP BY" in sql:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE messaging_campaignmessage SET status = %s",
                    [MessageStatus.DELIVERED],
                )
        return result

    with connection.execute_wrapper(deliver_after_a_look):
        yield


def test_the_process_ends_with_1_and_one_line_on_stderr(
    database, installation, csv_file
):
    file = csv_file("phone", ANN)
    options = ["--channel=sms", "--name=Spring", "--body=Hello", f"--recipients={file}"]
    database.execute("UPDATE routing_channelroutingconfig SET is_active = false")
    refused = manage(installation, "send_campaign", *options)
    database.execute("UPDATE routing_channelroutingconfig SET is_active = true")

    sent = manage(installation, "send_campaign", *options)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    assert "There is no active route for SMS" in refused.stderr
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout == "Campaign 1: 1 message queued, 0 rows rejected.\n"


def manage(installation, *arguments):
    """Runs manage.py to its end, with all that it writes."""
    return subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env=installation.environment | {"PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
