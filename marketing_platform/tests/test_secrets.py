"""Canaries: the providers' keys go only to the providers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import call_command
from django.urls import reverse
from django_q.models import OrmQ
from django_q.tasks import async_task

from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope
from messaging.factories import CampaignFactory, MessageFactory
from messaging.queue.worker import Processor
from messaging.vocabulary import WorkerKind
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import Channel

PROVIDERS = {
    Channel.SMS: ("TwilioSMS", "VonageSMS"),
    Channel.MMS: ("TwilioMMS", "VonageMMS"),
    Channel.EMAIL: ("SendGridEmail", "SMTPEmail"),
}
KEYS = ("AUTH_TOKEN", "API_SECRET", "SIGNATURE_SECRET", "API_KEY", "PASSWORD")


@pytest.fixture
def canaries(simulator, settings):
    """Gives each provider its own keys, which the simulators refuse."""
    found = []
    for name, definition in settings.MESSAGE_PROVIDERS.items():
        options = definition["OPTIONS"] | {"USERNAME": "campaigns"}
        for key in KEYS:
            if key in options or key == "PASSWORD":
                options[key] = f"canary-{name}-{key}".lower()
                found.append(options[key])
        definition["OPTIONS"] = options
    settings.MESSAGE_PROVIDERS = dict(settings.MESSAGE_PROVIDERS)
    simulator.set_fault("SMTPEmail", "error", stage="AUTH", code="535")
    return found


@pytest.fixture
def failed_messages(canaries, transactional_db):
    """A message per channel that every provider refused because of its keys."""
    for channel, (first, second) in PROVIDERS.items():
        RouteFactory(channel=channel, primary_provider=first, fallback_provider=second)
        media = ["https://example.com/a.jpg"] if channel == Channel.MMS else []
        campaign = CampaignFactory(channel=channel, subject="News", media_urls=media)
        recipient = "ada@example.com" if channel == Channel.EMAIL else "+14155550101"
        MessageFactory(campaign=campaign, recipient=recipient)
    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()
    assert MessageDeliveryAttempt.objects.count() >= len(PROVIDERS)


def database_text():
    """Every value of every row of every table."""
    return "\n".join(
        str(row) for model in apps.get_models() for row in model.objects.values()
    )


def test_no_key_is_in_the_log_or_the_database(written, failed_messages, canaries):
    text = written.getvalue() + database_text()

    assert "ada@example.com" in text  # the output is complete
    assert [each for each in canaries if each in text] == []


def test_no_key_is_in_a_task_of_the_cluster(failed_messages, canaries):
    async_task("messaging.tasks.drain_queue")

    tasks = [str(each.task) for each in OrmQ.objects.all()]

    assert len(tasks) == 1
    assert [each for each in canaries if each in tasks[0]] == []


def test_no_key_is_in_an_answer(failed_messages, canaries, client, admin_user):
    _, token = issue_token(user=admin_user, scope=TokenScope.ADMIN, expires_at=None)
    headers = {"Authorization": f"Bearer {token}"}
    message = MessageDeliveryAttempt.objects.first().message_id
    paths = [
        "/api/schema",
        "/api/routingconfig",
        f"/api/routingconfig/delivery-attempts/{message}",
    ]

    answers = [client.get(path, headers=headers) for path in paths]
    client.force_login(admin_user)
    answers += [
        client.get(reverse("admin:routing_messagedeliveryattempt_changelist")),
        client.get(reverse("admin:messaging_campaignmessage_change", args=[message])),
    ]

    assert [answer.status_code for answer in answers] == [200] * len(answers)
    text = "".join(answer.content.decode() for answer in answers)
    assert [each for each in canaries if each in text] == []


def test_no_key_is_in_what_the_doctor_says(failed_messages, canaries, capsys):
    with pytest.raises(SystemExit):
        call_command("doctor")

    text = "".join(capsys.readouterr())
    assert [each for each in canaries if each in text] == []
