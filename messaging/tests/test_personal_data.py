"""All data about one recipient can be exported and erased, and nothing else."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.apps import apps
from django.core import serializers
from django.core.management import CommandError, call_command

from messaging.factories import CampaignFactory, MessageFactory
from messaging.message_actions import InterventionRefused, retry_message
from messaging.models import CampaignMessage, KeptAnswer, Suppression
from messaging.tests.scenario import MINUTE, NOW
from messaging.vocabulary import SuppressionReason
from routing.factories import AttemptFactory, ReceiptFactory
from routing.models import DeliveryReceipt, InboundMessage
from routing.vocabulary import Channel, MessageStatus

pytestmark = pytest.mark.django_db
ADA, EVE = "ada@xn--bcher-kva.example", "eve@example.com"
TYPED = " ADA@Büch\u00ader.example"
NUMBER, FORMERLY = "+525512345678", "+5215512345678"
EVENTS = json.dumps([{"email": ADA, "event": "open"}, {"email": EVE, "event": "open"}])


def emailed(recipient, status=MessageStatus.DELIVERED, **fields):
    message = MessageFactory(
        campaign=CampaignFactory(channel=Channel.EMAIL, name="Spring"),
        recipient=recipient,
        body=f"Dear {recipient}",
        status=status,
        **fields,
    )
    AttemptFactory(
        message=message, external_message_id="X1", error_message=f"550 {recipient}"
    )
    ReceiptFactory(
        message=message, received_at=NOW, event_id=f"e{message.pk}", raw=EVENTS
    )
    return message


@pytest.fixture
def stored(admin_user):
    """Data about Ada in each table, and about Eve."""
    emailed(ADA)
    emailed("ada@bücher.example")  # as older versions stored it
    emailed(EVE)
    MessageFactory(recipient=NUMBER)
    MessageFactory(recipient=FORMERLY, status=MessageStatus.SENT)
    MessageFactory(recipient="+447400123456", status=MessageStatus.SENT)
    ReceiptFactory(message=None, event_id="u1", raw="From=x&To=%2B525512345678")
    ReceiptFactory(message=None, event_id="u2", raw='{"email": "bad' + ADA + '"}')
    for number, event_id in ((FORMERLY, "i1"), ("+447400123456", "i2")):
        InboundMessage.objects.create(
            provider="TwilioSMS",
            event_id=event_id,
            sender=number,
            text=f"I am {number}",
            received_at=NOW,
            raw=f"From={number}",
        )
    KeptAnswer.objects.create(
        user=admin_user,
        key="k",
        status=202,
        created_at=NOW,
        body=json.dumps({"messages": [{"id": 1, "to": ADA}, {"id": 2, "to": EVE}]}),
    )
    for address in (ADA, NUMBER, EVE):
        Suppression.objects.create(address=address, reason=SuppressionReason.OPTED_OUT)


def run(command, *args):
    out = StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue()


def everything():
    """All rows of all tables that know recipients, as one text."""
    tables = [CampaignMessage, DeliveryReceipt, InboundMessage, KeptAnswer]
    rows = [row for table in tables for row in table.objects.all()]
    attempts = [a for m in CampaignMessage.objects.all() for a in m.attempts.all()]
    return serializers.serialize("json", [*rows, *attempts], ensure_ascii=False)


def test_an_export_has_all_about_one_mailbox_and_nothing_about_another(stored):
    text = run("export_recipient", TYPED)

    document = json.loads(text)
    assert [each["recipient"] for each in document["messages"]] == [
        ADA,
        "ada@bücher.example",
    ]
    [attempt] = document["messages"][0]["attempts"]
    [receipt] = document["messages"][0]["receipts"]
    assert document["messages"][0]["campaign_name"] == "Spring"
    assert attempt["error_message"] == f"550 {ADA}"
    assert json.loads(receipt["raw"]) == [{"email": ADA, "event": "open"}]
    assert document["keptAnswers"][0]["answers"] == [{"id": 1, "to": ADA}]
    assert [each["address"] for each in document["suppressions"]] == [ADA]
    assert EVE not in text


def test_an_export_knows_a_handset_by_all_its_numbers(stored):
    document = json.loads(run("export_recipient", "+52 1 55 1234 5678"))

    assert [m["recipient"] for m in document["messages"]] == [NUMBER, FORMERLY]
    assert [each["sender"] for each in document["inboundMessages"]] == [FORMERLY]
    [unmatched] = document["receiptsWithoutMessage"]
    assert unmatched["event_id"] == "u1"


def test_an_export_goes_into_a_new_file_that_its_owner_alone_reads(stored, tmp_path):
    path = tmp_path / "ada.json"

    run("export_recipient", ADA, "--output", str(path))

    assert path.stat().st_mode & 0o777 == 0o600
    assert ADA in path.read_text()
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        run("export_recipient", ADA, "--output", str(path))


def test_a_dry_run_counts_and_changes_nothing(stored):
    before = everything()

    says = run("erase_recipient", TYPED, "--dry-run")

    assert says == (
        "Would erase: receipts of others 1, stored responses 1, attempts 2, receipts "
        "2, messages 2. Suppressions kept: 1.\n"
    )
    assert everything() == before


def test_nothing_of_the_person_is_left_and_all_of_others_is(stored):
    statuses = list(CampaignMessage.objects.values_list("pk", "status"))

    run("erase_recipient", TYPED)

    left = everything()
    assert "ücher" not in left
    assert ADA not in left.replace(f"bad{ADA}", "")  # is another mailbox
    assert EVE in left
    assert list(CampaignMessage.objects.values_list("pk", "status")) == statuses
    assert Suppression.objects.filter(address=ADA).exists()
    answers = json.loads(KeptAnswer.objects.get().body)["messages"]
    assert [each["to"] for each in answers] == ["erased", EVE]
    assert run("erase_recipient", TYPED).startswith("Erased: nothing.")


def test_what_waits_is_withdrawn_and_never_sent(stored):
    waiting = CampaignMessage.objects.get(recipient=NUMBER)

    run("erase_recipient", NUMBER, "--with-suppressions")

    waiting.refresh_from_db()
    assert waiting.status == MessageStatus.CANCELLED
    assert waiting.recipient == f"erased-{waiting.pk}"
    assert "5512345678" not in everything()
    assert not Suppression.objects.filter(address=NUMBER).exists()
    with pytest.raises(InterventionRefused, match="data was erased"):
        retry_message(waiting, now=NOW)


def test_what_breaks_off_is_on_record_with_what_it_did(stored, monkeypatch):
    monkeypatch.setattr("messaging.consent.erasure._blank_inbound", None)

    with pytest.raises(TypeError):
        run("erase_recipient", NUMBER)

    events = apps.get_model("marketing_platform.AuditEvent").objects
    assert events.get(action="erase recipient").changes["receipts"] == 0


def test_what_is_being_sent_is_left_and_told():
    lease = {"lease_owner": 1, "lease_expires_at": NOW + MINUTE}
    message = emailed(ADA, MessageStatus.SENDING, **lease)

    with pytest.raises(CommandError, match="outcome is not known yet: 1"):
        run("erase_recipient", ADA)

    message.refresh_from_db()
    assert message.recipient == ADA
