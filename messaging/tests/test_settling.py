"""Messages of unknown outcome that a person settles: sent again, or given up."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent, Door
from messaging.admin import MessageAdmin
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import Campaign, CampaignMessage, RetentionMark
from messaging.queue.receipts import record_receipts
from messaging.settling import BUSY, Ruling, Settlement, settle
from messaging.tests.scenario import LEASE, NOW, accepted, claim, running, write
from messaging.vocabulary import CampaignStatus
from routing.factories import AttemptFactory
from routing.providers.base import Receipt
from routing.reference import reference_for
from routing.vocabulary import AttemptOutcome, MessageStatus

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
AGAIN, UP = Settlement.SEND_AGAIN, Settlement.GIVE_UP
LISTED = "admin:messaging_campaignmessage_changelist"


def unknown(**fields):
    """A message that Twilio may have sent, and that waits for a verdict."""
    fields = {
        "status": MessageStatus.SENDING,
        "unknown_since": NOW - HOUR,
        "lease_expires_at": NOW + HOUR,
        "provider": "TwilioSMS",
        "attempt_count": 1,
    } | fields
    message = MessageFactory(**fields)
    AttemptFactory(
        message=message, outcome=AttemptOutcome.UNKNOWN, external_message_id=""
    )
    return message


def failed(**fields):
    """The same after the deadline."""
    fields = {"status": MessageStatus.FAILED, "lease_expires_at": None} | fields
    return unknown(finished_at=NOW, **fields)


def settled(how, *messages):
    """Settle them, and return how many were, and why others were not."""
    ruling = Ruling(how, "Twilio was down.", "in a test")
    done = settle([each.pk for each in messages], ruling, now=NOW)
    for each in messages:
        each.refresh_from_db()
    return done.done, dict(done.refused)


def receive(message, number, status):
    """A receipt about one of its attempts."""
    reference = reference_for(message.pk, number, provider="TwilioSMS")
    receipt = Receipt(
        event_id=f"{message.pk}.{number}",
        reference=str(reference),
        external_message_id="",
        status=status,
        provider_status=status.label,
    )
    record_receipts(provider_name="TwilioSMS", receipts=[receipt], raw="", now=NOW)


def test_what_is_sent_again_is_due_at_once_with_all_retries():
    waiting, over = unknown(retry_count=2), failed()

    assert settled(AGAIN, waiting, over) == (2, {})

    for each in (waiting, over):
        assert (each.status, each.due_at) == (MessageStatus.QUEUED, NOW)
        assert (each.unknown_since, each.retry_count) == (None, 0)
        assert each.status_reason == "Outcome unknown: sent again. Twilio was down."


def test_a_first_copy_that_arrived_calls_off_the_second_or_marks_it(route):
    called_off, sent_twice = unknown(), unknown()
    settled(AGAIN, called_off, sent_twice)
    receive(called_off, 1, MessageStatus.DELIVERED)
    [second] = claim(now=NOW)
    write(accepted(second))

    receive(sent_twice, 1, MessageStatus.DELIVERED)

    called_off.refresh_from_db()
    assert called_off.status == MessageStatus.DELIVERED
    assert list(CampaignMessage.objects.possible_duplicates()) == [sent_twice]


def test_what_was_given_up_has_failed_until_a_receipt_says_otherwise():
    message = unknown()

    assert settled(UP, message) == (1, {})
    assert message.status == MessageStatus.FAILED
    assert message.status_reason == "Outcome unknown: given up. Twilio was down."

    receive(message, 1, MessageStatus.DELIVERED)
    message.refresh_from_db()
    assert message.status == MessageStatus.DELIVERED


@pytest.mark.parametrize("how", Settlement)
def test_what_a_worker_is_asking_about_is_left_alone(how):
    held = unknown(lease_owner=1, lease_expires_at=NOW + LEASE)

    assert settled(how, held) == (0, {BUSY: 1})
    assert held.status == MessageStatus.SENDING


@pytest.mark.django_db(transaction=True)
def test_nobody_is_waited_for(needs_a_server):
    locked, free = unknown(), unknown()

    def settle_both():
        assert settled(UP, locked, free) == (1, {BUSY: 1})

    with transaction.atomic():
        CampaignMessage.objects.select_for_update().get(pk=locked.pk)
        with running(settle_both):
            pass

    assert CampaignMessage.objects.get(pk=free.pk).status == MessageStatus.FAILED


@pytest.mark.parametrize("how", Settlement)
def test_what_is_known_by_now_is_left_alone(how):
    sent = MessageFactory(status=MessageStatus.SENT)

    assert settled(how, sent) == (0, {"Its outcome is no longer unknown.": 1})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"expires_at": NOW}, "It has expired."),
        ({"recipient": "erased-1"}, "Its recipient's data was erased."),
        ({"campaign__status": CampaignStatus.CANCELLED}, "Its campaign was cancelled."),
    ],
)
def test_what_must_not_be_sent_is_not_sent_again(fields, why):
    assert settled(AGAIN, failed(**fields)) == (0, {why: 1})


def test_what_may_have_lost_its_text_is_not_sent_again():
    old = unknown()
    RetentionMark.objects.create(step="texts", cleared_before=timezone.now() + HOUR)

    done, refused = settled(AGAIN, old)

    assert (done, list(refused.values())) == (0, [1])


def test_what_made_workers_fail_is_not_sent_again():
    assert settled(AGAIN, failed(quarantined_at=NOW))[0] == 0


def test_the_campaign_of_what_is_sent_again_goes_on():
    message = failed(campaign__status=CampaignStatus.COMPLETED)

    settled(AGAIN, message)

    assert Campaign.objects.get().status == CampaignStatus.RUNNING


# The command.


def run(*args):
    out = StringIO()
    call_command("settle_unknown", "--provider=TwilioSMS", *args, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_settles_by_filter_with_the_true_count():
    wanted = unknown()
    MessageFactory(campaign=wanted.campaign, recipient="+14155550199")
    unknown(provider="VonageSMS", campaign=wanted.campaign)
    unknown(unknown_since=NOW - 9 * HOUR, campaign=wanted.campaign)
    unknown(campaign=CampaignFactory())
    since = (NOW - 2 * HOUR).isoformat()
    chosen = [f"--campaign={wanted.campaign_id}", f"--since={since}", "--give-up"]

    assert run(*chosen, "--dry-run")[0].startswith("1 message of unknown outcome")
    said = run(*chosen, "--yes", "--reason", "Twilio was down.")

    assert said[-1] == "1 message given up."
    assert CampaignMessage.objects.get(status=MessageStatus.FAILED) == wanted
    event = AuditEvent.objects.get(action="give up")
    assert (event.door, event.changes["reason"]) == (Door.COMMAND, "Twilio was down.")
    assert event.changes["messages"] == [wanted.pk]


def test_the_command_sends_failed_ones_again_if_told_to():
    failed()

    assert run("--send-again", "--dry-run")[0].startswith("0 messages")
    said = run("--send-again", "--failed-too", "--yes", "--reason=asked")

    assert said[-1] == "1 message queued to be sent again."


class Terminal(StringIO):
    """Somebody at a keyboard."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("keyboard", "given_up"),
    [(Terminal("y\n"), 1), (Terminal("n\n"), 0), (StringIO("y\n"), 0)],
    ids=["yes", "no", "nobody there"],
)
def test_the_command_asks_first(monkeypatch, keyboard, given_up):
    unknown()
    monkeypatch.setattr("sys.stdin", keyboard)

    with suppress(CommandError):
        run("--give-up", "--reason=asked")

    is_failed = CampaignMessage.objects.filter(status=MessageStatus.FAILED)
    assert is_failed.count() == given_up


@pytest.mark.parametrize("wrong", [[], ["--since=soon", "--reason=x"]])
def test_the_command_wants_a_reason_and_a_time_that_is_one(wrong):
    unknown()

    with pytest.raises(CommandError):
        run("--give-up", "--yes", *wrong)


# The back office.


def act(client, action, *chosen, **more):
    """Choose an action of the list of unknown outcomes."""
    data = {"action": action, "_selected_action": [each.pk for each in chosen]}
    page = reverse(LISTED, query={"outcome": "unknown"})
    return client.post(page, data | more, follow=True)


@pytest.mark.parametrize(
    ("action", "after"),
    [("send_again", MessageStatus.QUEUED), ("give_up", MessageStatus.FAILED)],
)
def test_the_back_office_asks_for_a_reason_and_shows_the_true_count(
    admin_client, monkeypatch, action, after
):
    monkeypatch.setattr(MessageAdmin, "ACTED_ON_AT_MOST", 1)
    shown, *_ = [unknown() for _ in range(3)]

    asked = act(admin_client, action, shown, select_across="1")
    assert "<strong>3</strong> of the 3 chosen" in asked.text
    assert "Nobody knows whether these were sent." in asked.text
    assert not CampaignMessage.objects.filter(status=after).exists()

    why = {"reason": "It was down.", "confirmed": "3"}
    done = act(admin_client, action, shown, select_across="1", **why)
    assert "3 of 3 messages done." in done.text
    assert CampaignMessage.objects.filter(status=after).count() == 3
    event = AuditEvent.objects.get(action=action.replace("_", " "))
    assert (event.actor, event.changes["count"]) == ("admin", 3)


def test_who_may_only_look_settles_nothing(client, django_user_model):
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    client.force_login(viewer)
    message = unknown()

    act(client, "give_up", message, reason="It was down.")

    message.refresh_from_db()
    assert message.status == MessageStatus.SENDING
