"""A client generated from the schema, used on a running server."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import call_command

PACKAGE = "generated_client"
GENERATOR = Path(sys.executable).with_name("openapi-python-client")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The client that openapi-python-client generates from our document."""
    directory = tmp_path_factory.mktemp("client")
    schema, config = directory / "schema.json", directory / "config.yaml"
    call_command("spectacular", "--format=openapi-json", f"--file={schema}")
    config.write_text("post_hooks: []\n")
    subprocess.run(
        [
            GENERATOR,
            "generate",
            f"--path={schema}",
            f"--config={config}",
            f"--output-path={directory / PACKAGE}",
            "--meta=none",
            "--fail-on-warning",
        ],
        check=True,
        capture_output=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        yield import_module(PACKAGE)


@pytest.fixture
def call(package, live_server, token):
    """Calls an operation by its id, with an administrator's token."""
    session = package.AuthenticatedClient(live_server.url, token("admin"))

    def call(operation, *arguments, **options):
        tag = operation.partition("_")[0]
        module = import_module(f"{PACKAGE}.api.{tag}.{operation}")
        return module.sync(*arguments, client=session, **options)

    with session:
        yield call


def model(name):
    return getattr(import_module(f"{PACKAGE}.models"), name)


def test_a_generated_client_makes_a_route_sends_a_message_and_reads_its_attempts(
    call, simulator
):
    channel, outcome = model("Channel"), model("AttemptOutcome")

    route = call(
        "routingconfig_create",
        body=model("RouteRequest")(
            channel=channel.SMS,
            primary_provider="TwilioSMS",
            fallback_provider="VonageSMS",
        ),
    )
    message = call(
        "messages_create",
        body=model("SingleMessageRequest")(
            channel=channel.SMS, to="+4915112345678", body="Hello"
        ),
    )
    call_command("process_queue", "--once")
    (attempt,) = call("routingconfig_delivery_attempts_list", message.id)

    assert route.max_retries == 3
    assert (attempt.provider, attempt.outcome) == ("TwilioSMS", outcome.ACCEPTED)
    assert attempt.decision.route == route.id


def test_a_generated_client_reads_why_it_was_refused(call):
    problem = call(
        "routingconfig_create",
        body=model("RouteRequest")(
            channel=model("Channel").SMS,
            primary_provider="Nobody",
            enable_fallback=False,
        ),
    )

    details = {error.field: error.detail for error in problem.errors}
    assert problem.status == 400
    assert details["primaryProvider"].startswith("Unknown provider 'Nobody'.")
