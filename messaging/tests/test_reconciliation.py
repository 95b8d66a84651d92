"""Whether an attempt got through, decided the same way everywhere."""

from __future__ import annotations

import pytest

from messaging.factories import CampaignFactory
from messaging.models import CampaignMessage
from messaging.reconciliation import Evidence, Verdict, perhaps_sent
from messaging.tests.scenario import accepted, claim, messages, write
from messaging.tests.test_possible_duplicates import receive
from routing.factories import RouteFactory
from routing.vocabulary import AttemptOutcome, Channel, MessageStatus

ACCEPTED, REJECTED, UNKNOWN = (
    AttemptOutcome.ACCEPTED,
    AttemptOutcome.REJECTED,
    AttemptOutcome.UNKNOWN,
)
SENT, DELIVERED, FAILED, BOUNCED = (
    MessageStatus.SENT,
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.BOUNCED,
)


@pytest.mark.parametrize(
    ("outcome", "receipts", "verdict"),
    [
        (ACCEPTED, set(), Verdict.GOT_THROUGH),
        (ACCEPTED, {SENT, FAILED}, Verdict.CAME_BACK),
        (ACCEPTED, {FAILED, DELIVERED}, Verdict.GOT_THROUGH),
        (REJECTED, set(), Verdict.NOT_SENT),
        (REJECTED, {DELIVERED}, Verdict.GOT_THROUGH),
        (UNKNOWN, set(), Verdict.UNKNOWN),
        (UNKNOWN, {SENT}, Verdict.GOT_THROUGH),
        (UNKNOWN, {BOUNCED}, Verdict.CAME_BACK),
        (None, {SENT}, Verdict.GOT_THROUGH),
        (None, set(), Verdict.NOT_SENT),
    ],
)
def test_receipts_overrule_what_was_recorded_and_delivered_is_proof(
    outcome, receipts, verdict
):
    assert Evidence(outcome, receipts=receipts).verdict(Channel.SMS) == verdict


def test_an_email_that_was_delivered_and_then_bounced_came_back():
    evidence = Evidence(ACCEPTED, receipts={DELIVERED, BOUNCED})

    assert evidence.verdict(Channel.EMAIL) == Verdict.CAME_BACK
    assert evidence.verdict(Channel.SMS) == Verdict.GOT_THROUGH


def test_a_look_up_in_vain_is_no_proof_against_what_is_said_after_it():
    assert Evidence(UNKNOWN, is_missing=True).verdict(Channel.SMS) == Verdict.NOT_SENT
    missing_but_sent = Evidence(UNKNOWN, receipts={SENT}, is_missing=True)
    assert missing_but_sent.verdict(Channel.SMS) == Verdict.GOT_THROUGH


def test_a_late_result_says_what_became_of_an_unknown_attempt():
    for late, verdict in (
        (ACCEPTED, Verdict.GOT_THROUGH),
        (REJECTED, Verdict.NOT_SENT),
    ):
        evidence = Evidence(UNKNOWN, late_outcomes={late})
        assert evidence.verdict(Channel.SMS) == verdict


@pytest.mark.django_db
def test_a_bounced_email_that_is_sent_again_is_no_possible_duplicate(settings):
    backend = {"BACKEND": "routing.providers.memory.MemoryEmail"}
    settings.MESSAGE_PROVIDERS = {"SendGridEmail": backend}
    RouteFactory(
        channel=Channel.EMAIL,
        primary_provider="SendGridEmail",
        fallback_provider="",
        enable_fallback=False,
    )
    campaign = CampaignFactory(channel=Channel.EMAIL, subject="A word")
    messages(1, campaign=campaign, recipient="ada@example.com")
    (first,) = claim()
    write(accepted(first))
    receive(first, DELIVERED)
    receive(first, BOUNCED)
    message = CampaignMessage.objects.get()
    assert not perhaps_sent([message])

    CampaignMessage.objects.update(status=MessageStatus.QUEUED, finished_at=None)
    (second,) = claim()
    write(accepted(second))

    assert not CampaignMessage.objects.possible_duplicates().exists()
