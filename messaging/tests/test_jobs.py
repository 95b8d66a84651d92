"""Bulk jobs: an act on many messages, worked off in batches."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.urls import reverse
from django.utils import timezone

from marketing_platform.audit.models import AuditEvent
from messaging import jobs, message_actions
from messaging.admin.jobs import act_address
from messaging.factories import CampaignFactory, MessageFactory
from messaging.jobs import Asked, NothingChosen, ask_for, stop, work_on_jobs
from messaging.message_actions import BUSY
from messaging.models import BulkJob, BulkJobMessage, Campaign, CampaignMessage
from messaging.tests.scenario import NOW, running
from messaging.tests.tallies import drain
from messaging.vocabulary import BulkAct, CampaignStatus, JobState
from routing.factories import AttemptFactory
from routing.vocabulary import AttemptOutcome, ErrorClass, MessageStatus

pytestmark = pytest.mark.django_db
FAILED = {"status": MessageStatus.FAILED, "finished_at": NOW}
WHY = Asked(by="ada", reason="Twilio was down.", chosen_by="campaign 7")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 10)


def failed(count, **fields):
    return MessageFactory.create_batch(count, **FAILED | fields)


def asked(act=BulkAct.RETRY, chosen=None):
    chosen = CampaignMessage.objects.all() if chosen is None else chosen
    return ask_for(act, chosen, WHY, now=NOW)


def to_its_end(job):
    while work_on_jobs(now=NOW):
        pass
    job.refresh_from_db()
    return JobState(job.state), job.done, job.refused


def statuses():
    found = CampaignMessage.objects.order_by("pk").values_list("status", flat=True)
    return [MessageStatus(each) for each in found]


def test_a_job_comes_to_each_of_its_messages_once_in_batches():
    failed(25, campaign=CampaignFactory(status=CampaignStatus.COMPLETED))
    job = asked()

    sizes = [work_on_jobs(now=NOW) for _ in range(4)]

    assert sizes == [10, 10, 5, 0]
    assert to_its_end(job) == (JobState.FINISHED, 25, {})
    assert statuses() == [MessageStatus.QUEUED] * 25
    message = CampaignMessage.objects.select_related("campaign").first()
    assert message.status_reason == "Retried: Twilio was down."
    assert message.campaign.status == CampaignStatus.RUNNING


def test_messages_that_come_later_are_not_touched():
    failed(3)
    job = asked()
    failed(2)

    assert to_its_end(job) == (JobState.FINISHED, 3, {})
    assert statuses()[3:] == [MessageStatus.FAILED] * 2


@pytest.mark.parametrize(
    ("act", "fields", "why"),
    [
        (
            BulkAct.RETRY,
            {"campaign__status": CampaignStatus.CANCELLED},
            "Its campaign was cancelled.",
        ),
        (BulkAct.RETRY, {"recipient": "erased-1"}, "Its recipient's data was erased."),
    ],
)
def test_it_says_why_it_leaves_messages_alone(act, fields, why):
    failed(1, **fields)
    before = statuses()

    state, done, refused = to_its_end(asked(act))

    assert (state, done, refused) == (JobState.FINISHED, 0, {why: 1})
    assert statuses() == before


def test_what_was_or_may_have_been_sent_is_not_sent_again():
    sent, not_sent = failed(2)
    AttemptFactory(message=sent, outcome=AttemptOutcome.UNKNOWN)
    AttemptFactory(message=not_sent, outcome=AttemptOutcome.REJECTED)

    _, done, refused = to_its_end(asked())

    assert (done, sum(refused.values())) == (1, 1)
    assert statuses() == [MessageStatus.FAILED, MessageStatus.QUEUED]


def test_queued_messages_are_withdrawn():
    MessageFactory.create_batch(12, due_at=NOW)

    assert to_its_end(asked(BulkAct.CANCEL)) == (JobState.FINISHED, 12, {})
    assert statuses() == [MessageStatus.CANCELLED] * 12


def test_what_has_changed_since_it_was_asked_for_is_left_alone():
    failed(1)
    retrying = asked()
    CampaignMessage.objects.update(status=MessageStatus.DELIVERED)

    _, done, refused = to_its_end(retrying)

    (why,) = refused
    assert done == 0
    assert why.startswith("The message is delivered. Only messages that failed,")


def test_a_campaign_that_is_cancelled_meanwhile_gets_nothing_back(monkeypatch):
    message = failed(1)[0]
    job = asked()
    monkeypatch.setattr(
        message_actions, "_refusals", lambda *_: cancel_campaign(message)
    )

    assert to_its_end(job) == (
        JobState.FINISHED,
        0,
        {"Its campaign was cancelled.": 1},
    )


def cancel_campaign(message):
    """Another process does, after the statuses were read."""
    Campaign.objects.filter(pk=message.campaign_id).update(
        status=CampaignStatus.CANCELLED
    )
    return {}


def test_an_error_that_may_pass_ends_a_job_only_after_some_tries(monkeypatch):
    failed(3)
    job = asked()

    def fail(*_):
        raise OperationalError("deadlock detected")

    monkeypatch.setitem(jobs._DO, BulkAct.RETRY, fail)
    for _ in range(jobs.FAILURES_AT_MOST - 1):
        assert work_on_jobs(now=NOW) == 0
    job.refresh_from_db()
    assert (job.state, job.error) == (
        JobState.WAITING,
        "OperationalError: deadlock detected",
    )

    work_on_jobs(now=NOW)

    job.refresh_from_db()
    assert job.state == JobState.FAILED


def test_a_job_that_is_stopped_leaves_the_rest_alone():
    failed(25)
    job = asked()
    work_on_jobs(now=NOW)

    assert stop(job, reason="wrong filter", now=NOW)

    assert to_its_end(job) == (JobState.STOPPED, 10, {})
    assert statuses().count(MessageStatus.QUEUED) == 10
    assert not stop(job, reason="again", now=NOW)


def test_nothing_is_asked_for_nothing():
    with pytest.raises(NothingChosen):
        asked()
    with pytest.raises(NothingChosen):
        asked(chosen=CampaignMessage.objects.none())
    assert not BulkJob.objects.exists()


def test_an_error_ends_the_job_and_not_the_worker(monkeypatch):
    failed(3)
    job = asked()

    def fail(*_):
        raise ValueError("no such thing")

    monkeypatch.setitem(jobs._DO, BulkAct.RETRY, fail)

    assert to_its_end(job) == (JobState.FAILED, 0, {})
    assert job.error == "ValueError: no such thing"
    assert statuses() == [MessageStatus.FAILED] * 3


def test_a_batch_that_is_interrupted_is_done_again(monkeypatch):
    failed(3)
    job = asked()
    monkeypatch.setattr(BulkJob, "save", interrupt)

    with pytest.raises(KeyboardInterrupt):
        work_on_jobs(now=NOW)
    assert statuses() == [MessageStatus.FAILED] * 3

    monkeypatch.undo()
    assert to_its_end(job) == (JobState.FINISHED, 3, {})


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_work_on_the_same_job(needs_a_server):
    failed(3)
    asked()
    came_to = []

    with jobs.transaction.atomic():
        BulkJob.objects.select_for_update().get()
        with running(lambda: came_to.append(work_on_jobs(now=NOW))):
            pass

    assert came_to == [0]
    assert statuses() == [MessageStatus.FAILED] * 3


@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_locked_is_left_alone(needs_a_server):
    locked, _ = failed(2)
    job = asked()

    with jobs.transaction.atomic():
        CampaignMessage.objects.select_for_update().get(pk=locked.pk)
        with running(lambda: work_on_jobs(now=NOW)):
            pass

    job.refresh_from_db()
    assert (job.done, job.refused) == (1, {BUSY: 1})


def test_a_batch_takes_no_more_statements_for_more_messages(
    monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(jobs, "BATCH", 100)
    campaign = CampaignFactory()
    failed(1, campaign=campaign)
    asked()
    with django_assert_max_num_queries(40) as few:
        work_on_jobs(now=NOW)
    failed(50, campaign=campaign)
    asked(chosen=CampaignMessage.objects.filter(**FAILED))

    with django_assert_max_num_queries(len(few)):
        work_on_jobs(now=NOW)


def test_workers_see_to_it_between_messages(route):
    failed(3)
    job = asked()

    drain()

    assert to_its_end(job)[0] == JobState.FINISHED
    assert statuses() == [MessageStatus.SENT] * 3


def test_who_asked_and_why_is_kept(admin_user):
    failed(2)
    asked_by_ada = Asked("ada", "Twilio was down.", "all", admin_user)
    job = ask_for(BulkAct.RETRY, CampaignMessage.objects.all(), asked_by_ada, now=NOW)
    to_its_end(job)
    User.objects.all().delete()

    job.refresh_from_db()
    assert (job.user, job.asked_by) == (None, "ada")
    first, last = AuditEvent.objects.filter(action__contains="bulk job").order_by("pk")
    assert (first.action, last.action) == ("ask for bulk job", "finish bulk job")
    assert last.changes["count"] == last.changes["done"] == 2
    assert last.changes["why"] == "Twilio was down."


def test_old_jobs_are_cleared_away():
    failed(1)
    job = asked()
    to_its_end(job)

    jobs.forget_old_jobs(now=NOW + jobs.KEPT + timedelta(seconds=1))

    assert not BulkJob.objects.exists()
    assert not BulkJobMessage.objects.exists()


# --- the pages ---------------------------------------------------------------------


def link(**chosen):
    return act_address(BulkAct.RETRY, **chosen)


def test_the_page_that_asks_shows_the_true_count(admin_client):
    campaign = CampaignFactory()
    failed(3, campaign=campaign)
    MessageFactory(campaign=campaign, status=MessageStatus.DELIVERED)
    failed(5)

    page = admin_client.get(link(campaign=campaign.pk))

    text = re.sub(r"\s+", " ", page.text)
    assert "Retry: 3 messages" in text
    assert "<strong>3</strong> of the 4 chosen (campaign" in text
    assert not BulkJob.objects.exists()


def test_with_a_reason_it_is_done_and_shown(admin_client, admin_user):
    campaign = CampaignFactory()
    failed(3, campaign=campaign)

    page = admin_client.post(
        link(campaign=campaign.pk),
        {"reason": "It was us.", "confirmed": "3"},
        follow=True,
    )

    job = BulkJob.objects.get()
    assert (job.done, job.user, job.reason) == (3, admin_user, "It was us.")
    assert "3 of 3 messages done." in page.text
    assert statuses() == [MessageStatus.QUEUED] * 3


def test_it_asks_again_if_the_count_has_changed(admin_client):
    campaign = CampaignFactory()
    failed(2, campaign=campaign)

    page = admin_client.post(
        link(campaign=campaign.pk), {"reason": "It was us.", "confirmed": "1"}
    )

    assert "it is another number now" in page.text
    assert "Retry: 2 messages" in page.text
    assert not BulkJob.objects.exists()


def test_failures_are_chosen_by_their_last_error(admin_client):
    now = timezone.now()
    alike, other = failed(2, provider="TwilioSMS", attempt_count=1)
    for message, code in ((alike, "30003"), (other, "21211")):
        AttemptFactory(
            message=message,
            outcome=AttemptOutcome.REJECTED,
            error_class=ErrorClass.RECIPIENT,
            error_code=code,
        )
    CampaignMessage.objects.update(finished_at=now)
    chosen = link(
        since=(now - timedelta(hours=1)).isoformat(),
        status=MessageStatus.FAILED.value,
        provider="TwilioSMS",
        error=ErrorClass.RECIPIENT.value,
        code="30003",
    )

    admin_client.post(chosen, {"reason": "They mended it.", "confirmed": "1"})

    assert statuses() == [MessageStatus.QUEUED, MessageStatus.FAILED]
    assert "error Recipient" in BulkJob.objects.get().chosen_by


def test_what_was_searched_for_is_not_kept(admin_client):
    message = failed(1, recipient="+4915112345678")[0]
    searched = reverse(
        "admin:messaging_campaignmessage_changelist",
        query={"q": message.recipient, "status__exact": "4"},
    )
    form = {"action": "retry", "select_across": "1", "_selected_action": [message.pk]}

    admin_client.post(searched, {**form, "reason": "It was us.", "confirmed": "1"})

    chosen_by = BulkJob.objects.get().chosen_by
    assert chosen_by == "all in the list (status__exact=4, a search)"


def test_many_are_left_to_the_workers_and_can_be_stopped(admin_client, monkeypatch):
    monkeypatch.setattr("messaging.admin.jobs.AT_ONCE", 2)
    campaign = CampaignFactory()
    failed(3, campaign=campaign)

    page = admin_client.post(
        link(campaign=campaign.pk), {"reason": "x", "confirmed": "3"}, follow=True
    )

    assert '<meta http-equiv="refresh"' in page.text
    assert statuses() == [MessageStatus.FAILED] * 3
    job = BulkJob.objects.get()
    page = admin_client.post(
        reverse("admin:messaging_bulkjob_stop", args=[job.pk]), follow=True
    )
    assert "Stopped" in page.text
    assert '<meta http-equiv="refresh"' not in page.text


@pytest.mark.parametrize(
    "query",
    ["", "act=9&campaign=1", "act=0", "act=0&campaign=x", "act=0&since=yesterday"],
)
def test_a_link_that_names_no_messages_leads_nowhere(admin_client, query):
    address = reverse("admin:messaging_bulkjob_ask")

    assert admin_client.get(f"{address}?{query}").status_code == 404


def test_who_may_only_look_neither_asks_nor_stops(client, django_user_model):
    message = failed(1)[0]
    job = asked()
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(viewer)

    asking = client.post(link(campaign=message.campaign_id), {"reason": "x"})
    stopping = client.post(reverse("admin:messaging_bulkjob_stop", args=[job.pk]))

    assert (asking.status_code, stopping.status_code) == (403, 403)
    page = client.get(reverse("admin:messaging_bulkjob_change", args=[job.pk]))
    assert page.status_code == 200
    assert "Stop" not in page.text
