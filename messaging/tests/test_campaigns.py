"""Campaigns: checked, filled with recipients and launched, or not at all."""

from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
import smsutil
from django.db import connection

from marketing_platform.diagnosis import installation
from marketing_platform.diagnosis.findings import Level
from marketing_platform.testing.shared import shared_file
from messaging.addresses import Address
from messaging.audience.load import CHUNK, ReadAhead, add_recipients, drafts_of
from messaging.audience.recipients import Recipient, RecipientFile, RecipientFileError
from messaging.campaigns import CampaignError, CampaignText, Strictness, send_campaign
from messaging.factories import CampaignFactory
from messaging.models import Campaign, CampaignMessage
from messaging.rules.content import BODY_LIMITS
from messaging.rules.wording import Wording
from messaging.vocabulary import CampaignStatus
from routing.factories import RouteFactory
from routing.models import ChannelRoutingConfig
from routing.vocabulary import Channel, MessageStatus

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEMORY = "routing.providers.memory.Memory"
PROVIDERS = {
    "TwilioSMS": {"BACKEND": f"{MEMORY}SMS"},
    "VonageSMS": {"BACKEND": f"{MEMORY}SMS"},
    "TwilioMMS": {"BACKEND": f"{MEMORY}MMS"},
    "SendGridEmail": {"BACKEND": f"{MEMORY}Email"},
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def routes(settings):
    """One route for each channel; all providers keep their messages in memory."""
    settings.MESSAGE_PROVIDERS = PROVIDERS
    RouteFactory()
    for channel, provider in [
        (Channel.MMS, "TwilioMMS"),
        (Channel.EMAIL, "SendGridEmail"),
    ]:
        RouteFactory(
            channel=channel,
            primary_provider=provider,
            fallback_provider="",
            enable_fallback=False,
        )


@pytest.fixture
def send(tmp_path):
    """Sends a campaign to the rows of a file; returns it and the rejections."""

    def send(rows, *, header="phone,name", region="", **fields):
        fields = {"name": "Spring", "channel": Channel.SMS, "body": "Hello"} | fields
        path = tmp_path / "recipients.csv"
        path.write_text("\n".join([header, *rows]), encoding="utf-8")
        rejections = []
        campaign, report = send_campaign(
            CampaignText(**fields),
            RecipientFile(path, channel=fields["channel"], default_region=region),
            now=NOW,
            on_rejected=rejections.append,
        )
        assert report.rejected == len(rejections)
        assert report.accepted == campaign.messages.count()
        return campaign, [(each.line, each.reason) for each in rejections]

    return send


def phone(number):
    return f"+1415{2000000 + number}"


def nothing_is_stored():
    return not Campaign.objects.exists() and not CampaignMessage.objects.exists()


def test_a_campaign_runs_with_one_due_message_per_recipient(send):
    campaign, rejections = send([f"{phone(1)},Ann", f"{phone(2)},Bob"])

    assert campaign.status == CampaignStatus.RUNNING
    assert (campaign.launched_at, campaign.scheduled_at) == (NOW, None)
    assert rejections == []
    messages = campaign.messages.order_by("id")
    assert [message.recipient for message in messages] == [phone(1), phone(2)]
    assert {message.due_at for message in messages} == {NOW}
    assert {message.status for message in messages} == {MessageStatus.QUEUED}


def test_the_messages_of_a_scheduled_campaign_are_due_at_its_time(send):
    campaign, _ = send([phone(1)], header="phone", scheduled_at=NOW + HOUR)

    assert campaign.messages.get().due_at == campaign.scheduled_at == NOW + HOUR


def test_a_text_that_all_share_is_stored_once(send):
    campaign, _ = send([f"{phone(1)},Ann"], body="Hello")

    message = campaign.messages.get()
    assert (campaign.body, message.body, message.segments) == ("Hello", "", 1)


def test_each_recipient_gets_a_text_of_their_own(send):
    campaign, _ = send(
        ["ann@example.com,Ann,it's {{email}} & <b>", "bob@example.com,Bob,x"],
        header="email,name,note",
        channel=Channel.EMAIL,
        subject="For {{NAME}}",
        body="Dear {{ name }}: {{note}}",
    )

    messages = campaign.messages.order_by("id").values_list("subject", "body")
    assert list(messages) == [
        ("For Ann", "Dear Ann: it's {{email}} & <b>"),
        ("For Bob", "Dear Bob: x"),
    ]


def test_columns_of_any_name_fill_their_fields(send):
    campaign, _ = send(
        ["+447400123456,Ada,Grace,Edith,"],
        header="phone,First Name,prénom,first-name,city",
        body="{{First Name}} {{prénom}} {{first-name}} of {{city|your town}}",
    )

    assert campaign.messages.get().body == "Ada Grace Edith of your town"


def test_fields_that_stay_empty_are_counted_and_may_be_rejected(tmp_path):
    text = CampaignText(name="Spring", channel=Channel.SMS, body="Hi {{name}} {{b|x}}")
    path = tmp_path / "recipients.csv"
    path.write_text(
        f"phone,name,b\n{phone(1)},Ann,\n{phone(2)},\u200b,\n{phone(2)},,\n"
    )
    recipients, rejections = RecipientFile(path, channel=Channel.SMS), []

    def load(**options):
        rejections.clear()
        _, report = send_campaign(
            text, recipients, now=NOW, on_rejected=rejections.append, **options
        )
        return report

    assert load().blanks == {"name": 1}
    assert load(strictness=Strictness(reject_blank=True)).accepted == 1
    assert rejections[0].reason == "its name is blank"


def test_a_text_that_its_fields_blow_up_is_rejected_without_being_made(send):
    long = [f"p{number}@example.com,{'x' * 10_000}" for number in range(40)]
    tracemalloc.start()
    _, rejections = send(
        ["ann@example.com,Ann", *long],
        header="email,x",
        channel=Channel.EMAIL,
        subject="Hi",
        body="{{x}}" * 500,
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    says = "The body has 5000000 characters; Email allows 262144. Shorten it."
    assert {reason for _, reason in rejections} == {says}
    assert peak < 4_000_000


def test_an_mms_keeps_its_media(send):
    media = ["https://example.com/a.png", "https://example.com/b.png"]

    campaign, _ = send(
        [f"{phone(1)},Ann"], channel=Channel.MMS, media_urls=media, body="x" * 500
    )

    campaign.refresh_from_db()
    assert campaign.media_urls == media
    assert campaign.messages.get().segments == 1


def test_numbers_that_may_be_others_or_cost_extra_are_rejected(send):
    campaign, rejections = send(
        [phone(1), "491701234567", "+4901701234567", "+449061234567", "+442071838750"],
        header="phone",
        region="DE",
    )

    assert campaign.messages.get().recipient == phone(1)
    reasons = ["may be", "write that", "a premium-rate number", "SEND_TO_LANDLINES=1"]
    assert [line for line, _ in rejections] == [3, 4, 5, 6]
    assert all(said in why for said, (_, why) in zip(reasons, rejections, strict=True))


def test_bad_rows_are_rejected_in_order_and_the_others_sent(send):
    campaign, rejections = send(
        [f"{phone(1)},Ann", "hello,Bob", f"{phone(1)},Ann again", f"{phone(2)},"],
        body="Hi {{name}}",
    )

    assert rejections == [
        (3, "'hello' is not a valid phone number with its +country code"),
        (4, "duplicate recipient"),
    ]
    assert campaign.messages.count() == 2


def test_a_campaign_knows_how_many_messages_it_was_loaded_with(send):
    campaign, _ = send([f"{phone(1)},Ann", "hello,Bob", f"{phone(2)},Cy"])
    assert campaign.message_count == 2

    more = drafts_of(Wording(campaign), [Recipient(1, Address(phone(3), "US"), {})])
    add_recipients(campaign, more, due_at=NOW, on_rejected=pytest.fail)
    campaign.refresh_from_db()
    assert campaign.message_count == 3


def test_a_recipient_is_the_same_however_written(send):
    _, rejections = send(["+1 (415) 200-0001,a", "+14152000001,b"])

    assert rejections == [(3, "duplicate recipient")]


def test_a_rejected_row_does_not_take_the_place_of_a_good_one(send):
    campaign, rejections = send([f"{phone(1)},", f"{phone(1)},Ann"], body="{{name}}")

    assert rejections == [(2, "The body is empty.")]
    assert campaign.messages.get().body == "Ann"


def test_duplicates_are_found_across_chunks(send):
    rows = [f"{phone(number)},x" for number in range(CHUNK + 1)]

    campaign, rejections = send([*rows, rows[0], rows[CHUNK // 2], rows[-1]])

    assert campaign.messages.count() == CHUNK + 1
    assert rejections == [
        (CHUNK + 3 + number, "duplicate recipient") for number in range(3)
    ]


def test_another_campaign_may_write_to_the_same_recipient(send):
    send([f"{phone(1)},Ann"])
    again, rejections = send([f"{phone(1)},Ann"])

    assert again.messages.count() == 1
    assert rejections == []


def test_rows_are_asked_for_at_most_one_chunk_ahead():
    asked_for, when_stored = [], []

    def rows():
        for number in range(2 * CHUNK + 1):
            asked_for.append(number)
            yield Recipient(number, Address(phone(number), "US"), {})

    campaign = CampaignFactory()
    add_recipients(
        campaign,
        drafts_of(Wording(campaign), rows()),
        due_at=NOW,
        on_rejected=pytest.fail,
        on_progress=lambda: when_stored.append(len(asked_for)),
    )

    reads_ahead = connection.vendor == "postgresql"
    first = 2 * CHUNK if reads_ahead else CHUNK
    second = 2 * CHUNK + 1 if reads_ahead else 2 * CHUNK
    assert when_stored == [first, second, 2 * CHUNK + 1]


def test_what_was_read_ahead_comes_in_its_turn():
    numbers = ReadAhead(iter(range(4)))

    numbers.read_ahead()
    numbers.read_ahead()

    assert list(numbers) == [0, 1, 2, 3]
    numbers.read_ahead()
    assert list(numbers) == []


def test_every_real_text_is_billed_in_the_segments_that_smsutil_finds(tmp_path):
    lines = shared_file("data/sms_corpus.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t", 1)[1].strip() for line in lines]
    path = tmp_path / "corpus.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(phone(number), text) for number, text in enumerate(texts)]
        csv.writer(file).writerows([("phone", "text"), *rows])

    campaign, _ = send_campaign(
        CampaignText(name="Corpus", channel=Channel.SMS, body="{{text}}"),
        RecipientFile(path, channel=Channel.SMS),
        now=NOW,
        on_rejected=pytest.fail,
    )

    stored = campaign.messages.values_list("recipient", "body", "segments")
    assert {(to, body): segments for to, body, segments in stored} == {
        row: len(smsutil.split(row[1]).parts) for row in rows
    }


def test_a_text_that_a_value_makes_too_long_is_rejected_with_its_length(send):
    limit = BODY_LIMITS[Channel.SMS]

    campaign, rejections = send(
        [f"{phone(1)},{'x' * limit}", f"{phone(2)},{'x' * (limit - 1)}"],
        body="{{name}}!",
    )

    assert rejections == [
        (2, "The body has 1601 characters; SMS allows 1600. Shorten it."),
    ]
    assert campaign.messages.get().segments == 11


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 501])
def test_a_subject_that_a_value_spoils_is_rejected(send, name):
    campaign, rejections = send(
        [f'ann@example.com,"{name}"', "bob@example.com,Bob"],
        header="email,name",
        channel=Channel.EMAIL,
        subject="{{name}}",
    )

    assert [line for line, _ in rejections] == [2]
    assert campaign.messages.get().recipient == "bob@example.com"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"name": "a\udcff"}, "not valid UTF-8 text"),
        ({"name": "a\0b"}, "not valid UTF-8 text"),
        ({"body": ""}, "body is empty"),
        ({"body": "x" * 1601}, "SMS allows 1600"),
        ({"body": "\udcff"}, "body is not valid UTF-8"),
        ({"body": "Hi {{surname}}"}, "uses {{surname}}, but there is no such column"),
        ({"body": "Hi {{phone}"}, "has '{{phone}', which is not a field"),
        ({"body": "{{phone}}" * 501}, "body has 4509 characters"),
        ({"subject": "News"}, "SMS has no subject"),
        ({"media_urls": ["https://example.com/a"]}, "SMS carries no media"),
        ({"scheduled_at": NOW}, "2026-11-24T09:00:00.00:00 is in the past"),
        ({"channel": Channel.EMAIL}, "needs a subject"),
        ({"channel": Channel.EMAIL, "subject": "{{x}}"}, "uses {{x}}"),
        ({"channel": Channel.MMS}, "at least one media URL"),
    ],
)
def test_a_text_that_cannot_be_sent_is_refused_and_nothing_stored(send, fields, says):
    with pytest.raises(CampaignError, match=says):
        send([f"{phone(1)},ann@example.com"], header="phone,email", **fields)

    assert nothing_is_stored()


def test_a_channel_without_an_active_route_is_refused(send):
    ChannelRoutingConfig.objects.update(is_active=False)

    with pytest.raises(CampaignError, match="no active route for SMS"):
        send([f"{phone(1)},Ann"])

    assert nothing_is_stored()


def without_credentials(*names):
    return {name: {"BACKEND": "routing.providers.twilio.TwilioSMS"} for name in names}


# The doctor and the refusal of a campaign use the same checks.
@pytest.mark.parametrize(
    ("lacking", "level"),
    [
        ((), Level.OK),
        (("TwilioSMS",), Level.WARN),
        (("VonageSMS",), Level.WARN),
        (("TwilioSMS", "VonageSMS"), Level.FAIL),
    ],
)
def test_a_campaign_is_taken_if_and_only_if_the_doctor_finds_a_way(
    send, settings, lacking, level
):
    settings.MESSAGE_PROVIDERS = PROVIDERS | without_credentials(*lacking)

    found = installation.routes(NOW)

    assert found.level == level
    assert all(f"{name} is not configured: it lacks" in found.text for name in lacking)
    if level == Level.FAIL:
        with pytest.raises(CampaignError, match="set TWILIO_ACCOUNT_SID, TWILIO_AUTH"):
            send([f"{phone(1)},Ann"])
        assert nothing_is_stored()
    else:
        assert send([f"{phone(1)},Ann"])[0].messages.count() == 1


def test_a_route_behind_another_of_its_scope_is_not_asked_for_credentials(
    send, settings
):
    settings.MESSAGE_PROVIDERS = PROVIDERS | without_credentials("Idle")
    RouteFactory(primary_provider="Idle", fallback_provider="", enable_fallback=False)
    RouteFactory(priority=10_000)

    assert installation.routes(NOW).level == Level.OK
    assert send([f"{phone(1)},Ann"])[0].messages.count() == 1


def test_a_fallback_that_is_off_needs_no_credentials(send, settings):
    settings.MESSAGE_PROVIDERS = PROVIDERS | {
        "VonageSMS": {"BACKEND": "routing.providers.twilio.TwilioSMS"}
    }
    ChannelRoutingConfig.objects.update(enable_fallback=False)

    campaign, _ = send([f"{phone(1)},Ann"])

    assert campaign.messages.count() == 1


def test_a_route_by_providers_that_are_gone_is_refused(send, settings):
    settings.MESSAGE_PROVIDERS = {"Other": PROVIDERS["VonageSMS"]}

    with pytest.raises(CampaignError, match="Unknown provider 'TwilioSMS'"):
        send([f"{phone(1)},Ann"])


def test_a_file_without_a_usable_row_leaves_nothing_behind(send):
    with pytest.raises(CampaignError, match=r"recipients\.csv has no usable row"):
        send(["hello,Ann", "world,Bob"])

    assert nothing_is_stored()


@pytest.mark.parametrize("spoilt", ['"open', "x" * 10_001, 'a"b"c" "'])
def test_a_file_that_breaks_after_stored_chunks_leaves_nothing_behind(send, spoilt):
    rows = [f"{phone(number)},x" for number in range(CHUNK + 1)]

    with pytest.raises(RecipientFileError):
        send([*rows, f'{phone(9999)},"{spoilt}'])

    assert nothing_is_stored()


def test_whatever_goes_wrong_leaves_nothing_behind(tmp_path):
    path = tmp_path / "recipients.csv"
    path.write_text("phone\nhello\n")

    with pytest.raises(OSError, match="disk full"):
        send_campaign(
            CampaignText(name="Spring", channel=Channel.SMS, body="Hello"),
            RecipientFile(path, channel=Channel.SMS),
            now=NOW,
            on_rejected=_disk_full,
        )

    assert nothing_is_stored()


def _disk_full(_):
    raise OSError("disk full")
