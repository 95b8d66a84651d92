"""What `manage.py prune` deletes, and what it keeps."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from messaging import retention
from messaging.factories import CampaignFactory, MessageFactory
from messaging.message_actions import InterventionRefused, retry_message
from messaging.models import Campaign, CampaignMessage, RetentionMark
from messaging.retention import Policy
from messaging.vocabulary import CampaignStatus
from routing.factories import AttemptFactory, ReceiptFactory
from routing.models import DeliveryReceipt, InboundMessage, MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, MessageStatus

pytestmark = pytest.mark.django_db
NOW = timezone.now()
YEAR = timedelta(days=365)
OLD = NOW - 2 * YEAR


def campaign(status=CampaignStatus.COMPLETED):
    return CampaignFactory(status=status)


def message(*, created_at=OLD, status=MessageStatus.DELIVERED, **fields):
    """A message that was created and ended at this time."""
    fields = {"finished_at": created_at} | fields
    if "campaign" not in fields:
        fields["campaign"] = campaign()
    made = MessageFactory(status=status, **fields)
    CampaignMessage.objects.filter(pk=made.pk).update(created_at=created_at)
    AttemptFactory(message=made, attempted_at=created_at)
    ReceiptFactory(message=made, received_at=created_at, event_id=f"e{made.pk}")
    return made


def refused_message(**fields):
    """A message that no provider sent."""
    made = message(status=MessageStatus.FAILED, **fields)
    made.attempts.update(outcome=AttemptOutcome.REJECTED)
    made.receipts.all().delete()
    return made


def prune(**policy):
    """What was deleted, by step."""
    counts = {}
    for batch in retention.prune(Policy(**policy), now=NOW):
        counts[batch.step] = counts.get(batch.step, 0) + batch.count
    return counts


def left():
    return (
        CampaignMessage.objects.count(),
        MessageDeliveryAttempt.objects.count(),
        DeliveryReceipt.objects.count(),
    )


def test_an_old_message_goes_with_its_attempts_and_receipts():
    message()
    message(created_at=NOW - timedelta(days=30))

    assert prune(messages_after=YEAR) == {"messages": 1}
    assert left() == (1, 1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": MessageStatus.QUEUED, "finished_at": None},
        {
            "status": MessageStatus.SENDING,
            "finished_at": None,
            "lease_expires_at": NOW,
        },
        {"finished_at": NOW - timedelta(days=1)},
    ],
    ids=["queued", "sending", "finished lately"],
)
def test_a_message_that_is_not_long_over_stays_with_all_that_belongs_to_it(fields):
    message(**fields)

    prune(messages_after=YEAR)

    assert left() == (1, 1, 1)


@pytest.mark.parametrize("status", [CampaignStatus.RUNNING, CampaignStatus.PAUSED])
def test_a_campaign_that_goes_on_keeps_its_messages(status):
    message(campaign=campaign(status))

    prune(messages_after=YEAR)

    assert left() == (1, 1, 1)


def test_single_messages_go_though_their_campaign_never_ends():
    standing = campaign(CampaignStatus.RUNNING)
    Campaign.objects.filter(pk=standing.pk).update(is_standing=True)
    message(campaign=standing)

    prune(messages_after=YEAR)

    assert left() == (0, 0, 0)


def test_attempts_may_go_before_their_messages():
    message()
    unfinished = message(status=MessageStatus.QUEUED, finished_at=None)

    assert prune(attempts_after=YEAR) == {"attempts": 1, "receipts": 1}
    assert left() == (2, 1, 1)
    assert unfinished.attempts.exists()


def test_a_receipt_of_a_message_that_we_never_sent_goes_too():
    ReceiptFactory(message=None, received_at=OLD)

    assert prune(attempts_after=YEAR) == {"receipts": 1}


def test_content_goes_and_the_rest_stays():
    cleared = message(body="Hi Ada, your code is 123456.", subject="For Ada")
    InboundMessage.objects.create(
        provider="P", event_id="1", sender="+1", text="STOP", raw="x", received_at=OLD
    )

    prune(content_after=YEAR)

    cleared.refresh_from_db()
    assert (cleared.body, cleared.subject) == ("", "")
    assert cleared.status == MessageStatus.DELIVERED
    assert cleared.receipts.get().raw == ""
    assert InboundMessage.objects.get().text == ""
    assert left() == (1, 1, 1)


def test_a_message_without_its_text_is_not_sent_again():
    cleared = refused_message(body="Hi Ada")
    prune(content_after=YEAR)
    cleared.refresh_from_db()

    with pytest.raises(InterventionRefused, match="may have been deleted"):
        retry_message(cleared, now=NOW)


def test_a_young_message_may_still_be_sent_again_after_a_pruning():
    message(body="Hi Ada")
    young = refused_message(created_at=NOW)
    prune(content_after=YEAR)
    young.refresh_from_db()

    retry_message(young, now=NOW)

    assert young.status == MessageStatus.QUEUED


def test_clearing_twice_finds_nothing_left():
    message(body="Hi Ada")
    prune(content_after=YEAR)

    assert sum(prune(content_after=YEAR).values()) == 0


def test_it_goes_in_batches_and_stops_at_what_is_young():
    for age in [*[2 * YEAR] * 5, *[timedelta(0)] * 4]:
        message(created_at=NOW - age)

    batches = retention.prune(Policy(messages_after=YEAR), now=NOW, batch_size=2)

    assert [batch.count for batch in batches] == [2, 2, 1]
    assert left() == (4, 4, 4)


def test_what_may_be_gone_is_on_record_for_who_counts_again():
    message()

    prune(messages_after=YEAR)

    assert RetentionMark.objects.get().step == "messages"
    assert RetentionMark.objects.get().cleared_before == NOW - YEAR


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
def test_a_row_that_somebody_holds_is_left_for_the_next_time():
    held = message()
    other = connection.copy()
    with transaction.atomic(), other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT 1 FROM messaging_campaignmessage WHERE id = %s FOR UPDATE",
            [held.pk],
        )
        assert prune(messages_after=YEAR) == {"messages": 0}
    other.close()

    assert prune(messages_after=YEAR) == {"messages": 1}


# --- the command -------------------------------------------------------------------


def command(*arguments):
    out = StringIO()
    call_command("prune", *arguments, "--pause=0", stdout=out)
    return out.getvalue().strip()


def test_a_dry_run_counts_and_changes_nothing():
    message()

    assert command("--messages-after=365d", "--dry-run") == "Would prune: messages 1."
    assert left() == (1, 1, 1)
    assert not RetentionMark.objects.exists()


def test_the_command_tells_what_it_cleared():
    message()

    assert command("--attempts-after=365d") == "Pruned: attempts 1, receipts 1."
    assert json.loads(command("--messages-after=365d", "--json")) == {"messages": 1}
    assert command("--messages-after=365d") == "Pruned: nothing."


@pytest.mark.parametrize("age", ["365", "0d", "-1d", "a year", "365w"])
def test_an_age_that_is_none_is_refused_with_an_example(age):
    with pytest.raises(CommandError, match="such as 400d"):
        command(f"--messages-after={age}")


def test_without_an_age_it_asks_for_one():
    with pytest.raises(CommandError, match="--messages-after, --attempts-after"):
        command()
