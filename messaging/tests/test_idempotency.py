"""Act once per idempotency key, however often a caller repeats the request."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection

from messaging.factories import CampaignFactory
from messaging.idempotency import Answer, KeyInFlight, KeyReused, answer_once
from messaging.models import Campaign, KeptAnswer
from messaging.queue import sweep
from messaging.queue.worker import Processor
from messaging.tests.scenario import PATIENCE, running
from messaging.vocabulary import WorkerKind

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DAY = timedelta(hours=24)

pytestmark = pytest.mark.django_db
concurrent = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("shop")


def make_campaign():
    campaign = CampaignFactory()
    return Answer(201, f'{{"id": {campaign.pk}}}', f"/campaigns/{campaign.pk}")


def ask(user, *, key="k", digest="d", now=NOW, act=make_campaign):
    return answer_once(
        user_id=user.pk, key=key, request_digest=digest, now=now, act=act
    )


def test_the_second_time_it_is_not_done_but_answered(user):
    first, second = ask(user), ask(user)

    assert Campaign.objects.count() == 1
    assert (first.is_replayed, second.is_replayed) == (False, True)
    assert (second.status, second.body, second.location) == (
        first.status,
        first.body,
        first.location,
    )


def test_keys_of_different_users_are_different_keys(user, django_user_model):
    ask(user)
    ask(django_user_model.objects.create_user("another shop"))

    assert Campaign.objects.count() == 2


def test_a_key_is_not_for_two_requests(user):
    ask(user)

    with pytest.raises(KeyReused, match="Use a new key"):
        ask(user, digest="another")

    assert Campaign.objects.count() == 1


def test_a_key_is_free_again_after_a_day(user):
    ask(user)
    assert ask(user, now=NOW + DAY - timedelta(seconds=1)).is_replayed
    assert not ask(user, digest="another", now=NOW + DAY).is_replayed

    assert KeptAnswer.objects.get().created_at == NOW + DAY


def test_what_went_wrong_leaves_nothing_and_may_be_tried_again(user):
    def fail():
        CampaignFactory()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(user, act=fail)

    assert not Campaign.objects.exists()
    assert not ask(user).is_replayed


def test_workers_forget_answers_that_nobody_may_ask_for_any_more(user, monkeypatch):
    monkeypatch.setattr(sweep, "FORGETS", 1.0)
    ask(user, key="old")
    ask(user, key="young", now=NOW + timedelta(hours=1))

    Processor(
        kind=WorkerKind.COMMAND,
        idle_limit=timedelta(0),
        clock=lambda: NOW + DAY,
    ).run()

    assert KeptAnswer.objects.get().key == "young"


@concurrent
def test_a_request_that_is_being_worked_on_is_not_begun_again(needs_a_server, user):
    has_begun, may_end = threading.Event(), threading.Event()

    def slowly():
        answer = make_campaign()
        has_begun.set()
        assert may_end.wait(PATIENCE)
        return answer

    with running(lambda: ask(user, act=slowly)):
        assert has_begun.wait(PATIENCE)
        with pytest.raises(KeyInFlight, match="Try again in a moment"):
            ask(user)
        assert not ask(user, key="another").is_replayed
        may_end.set()

    assert ask(user).is_replayed
    assert Campaign.objects.count() == 2


@concurrent
def test_of_many_at_once_one_is_done(needs_a_server, user):
    barrier, outcomes = threading.Barrier(8), []

    def work():
        barrier.wait(PATIENCE)
        try:
            outcomes.append("replayed" if ask(user).is_replayed else "done")
        except KeyInFlight:
            outcomes.append("in flight")
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(outcomes) == 8
    assert outcomes.count("done") == Campaign.objects.count() == 1


@concurrent
def test_a_process_that_dies_midway_blocks_nothing_and_leaves_nothing(
    needs_a_server, user
):
    backend, is_dead, deaths = [], threading.Event(), []

    def die_midway():
        make_campaign()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend.append(cursor.fetchone()[0])
        has_begun.set()
        assert is_dead.wait(PATIENCE)
        return make_campaign()

    def ask_and_die():
        try:
            ask(user, act=die_midway)
        except OperationalError as error:
            deaths.append(error)

    has_begun = threading.Event()
    with running(ask_and_die):
        assert has_begun.wait(PATIENCE)
        with connection.cursor() as cursor:
            # Returns when the backend is gone, or after these milliseconds.
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", backend)
        answer = ask(user)
        is_dead.set()

    assert deaths
    assert not answer.is_replayed
    assert Campaign.objects.count() == KeptAnswer.objects.count() == 1
