"""A provider added by one file and one line works from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.utils import timezone

from marketing_platform.diagnosis import installation
from marketing_platform.diagnosis.findings import Level
from marketing_platform.environment import Environment
from marketing_platform.provider_settings import PROVIDERS, message_providers
from marketing_platform.testing.installation import NOWHERE
from messaging.factories import MessageFactory
from messaging.queue.worker import Processor
from messaging.vocabulary import WorkerKind
from routing.checks import check_credentials, check_providers
from routing.factories import RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.providers.registry import registry
from routing.simulators.control import PROVIDERS_BY_LISTENER
from routing.tests.providers.acme import AcmeSMS
from routing.tests.providers.samples import CLASSES, SIMULATED
from routing.tests.providers.scripted_server import ScriptedServer, say
from routing.tests.providers.test_acme import TAKEN
from routing.vocabulary import AttemptOutcome, MessageStatus

ACME = f"{AcmeSMS.__module__}.AcmeSMS"
ACCOUNT = {"ACME_TOKEN": "token", "ACME_FROM": "+15005550006"}
# A provider's file that reads a setting gets ImproperlyConfigured: there are none.
IMPORT_ALL = "import sys, importlib; [*map(importlib.import_module, sys.argv[1:])]"


def listed(monkeypatch, settings, **variables):
    """The settings with the line added and these variables set."""
    monkeypatch.delenv("PROVIDER_SIMULATOR_PORT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.MESSAGE_PROVIDERS = message_providers(
        Environment(), public_url=NOWHERE, paths=[*PROVIDERS, ACME]
    )


@pytest.fixture
def route(db):
    return RouteFactory(
        primary_provider="AcmeSMS", fallback_provider="", enable_fallback=False
    )


def explained(capsys):
    call_command("explain_route", "--channel=sms", "--to=+4915112345678", "--json")
    return json.loads(capsys.readouterr().out)


def test_its_name_and_its_options_come_from_its_class(monkeypatch, settings):
    listed(monkeypatch, settings, **ACCOUNT, ACME_IS_FLASH="1", ACMESMS_COUNTRIES="DE")

    options = registry.get("AcmeSMS").options

    assert options["TOKEN"] == "token"
    assert options["BASE_URL"] == "https://api.acme.example"
    assert options["IS_FLASH"] is True
    assert options["COUNTRIES"] == "DE"
    assert options["RECEIPT_URL"] == f"{NOWHERE}/webhooks/AcmeSMS/"


def test_without_an_account_all_who_look_say_what_to_set(
    monkeypatch, settings, route, capsys
):
    listed(monkeypatch, settings)
    lacking = "AcmeSMS is not configured: it lacks TOKEN, FROM (set ACME_TOKEN, "

    (warning,) = check_credentials()
    found = installation.routes(timezone.now())

    assert check_providers() == []
    assert lacking in warning.hint
    assert found.level == Level.FAIL
    assert lacking in found.text
    assert lacking in json.dumps(explained(capsys))


def test_with_an_account_it_is_chosen_and_sends(monkeypatch, settings, route, capsys):
    message = MessageFactory()

    with ScriptedServer(say(TAKEN)) as server:
        listed(monkeypatch, settings, **ACCOUNT, ACME_BASE_URL=server.url)
        healthy = installation.routes(timezone.now())
        decision = explained(capsys)
        Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()
        registry.close()

    assert healthy.level == Level.OK
    assert decision["chosen"] == "AcmeSMS"
    attempt = MessageDeliveryAttempt.objects.get()
    assert (attempt.provider, attempt.outcome) == ("AcmeSMS", AttemptOutcome.ACCEPTED)
    message.refresh_from_db()
    assert message.status == MessageStatus.SENT


def test_without_a_simulator_it_is_left_out_where_all_is_simulated(monkeypatch):
    monkeypatch.setenv("PROVIDER_SIMULATOR_PORT", "9900")

    found = message_providers(
        Environment(), public_url=NOWHERE, paths=[*PROVIDERS, ACME]
    )

    assert [*found] == SIMULATED


def test_a_provider_names_a_simulator_that_knows_it():
    named = {cls.__name__: cls.simulator for cls in CLASSES if cls.simulator}

    assert named == {
        name: listener
        for listener, names in PROVIDERS_BY_LISTENER.items()
        for name in names
    }


def test_no_provider_needs_the_settings_to_be_imported_by_them():
    modules = {path.rpartition(".")[0] for path in PROVIDERS}

    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules],
        cwd=django_settings.BASE_DIR,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert imported.returncode == 0, imported.stderr
