"""Fixtures for all apps: the simulated providers, and callers of the API."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest
from django.db import connection
from django.test import override_settings
from pytest_django import DjangoDbBlocker, Settings
from rest_framework.test import APIClient

from marketing_platform.provider_settings import simulated_providers
from marketing_platform.testing.databases import Database, copy_for_processes
from marketing_platform.testing.installation import NOWHERE, Installation
from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope
from routing.receipts.webhook_counts import WebhookCounter, counter
from routing.simulators.client import SimulatorClient
from routing.simulators.process import SimulatorProcess
from routing.simulators.simulation import SimulationOptions


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test-faults` runs the fault tests on both databases at once."""
    parser.addoption("--faults-on", choices=["sqlite", "postgresql"])


def pytest_configure() -> None:
    """SIGTERM ends the tests like Ctrl-C, with all processes that they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no worker is left with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """A hash that takes no time; a good one takes half a second of processor time."""
    with override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]
    ):
        yield


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """pytest-django's, which migrates.

    A copy is made before any test writes: copying is quick, while migrating takes
    seconds, in each test of real processes.
    """
    with django_db_blocker.unblock():
        copy = copy_for_processes(connection, tmp_path_factory.mktemp("migrated"))
    yield copy
    copy.drop()


@pytest.fixture(scope="session")
def migrated(
    django_db_setup: Database, tmp_path_factory: pytest.TempPathFactory
) -> Database:
    """The database that `database` is copied from."""
    directory = tmp_path_factory.mktemp("seeding")
    Installation(
        directory, database_url=django_db_setup.url, simulator_port=1
    ).add_default_routes()
    return django_db_setup


@pytest.fixture
def database(db: None, migrated: Database) -> Iterator[Database]:
    """A database for real processes: migrated, with the default routes.

    It is of the kind that the suite runs on. pytest-django creates the one it is copied
    from only if a test requests `db`.
    """
    own = migrated.copy("own")
    yield own
    own.drop()


@pytest.fixture
def installation(
    database: Database,
    tmp_path: Path,
    simulator: SimulatorClient,
    simulator_process: SimulatorProcess,
) -> Installation:
    """An installation with that database; none of its processes is running yet."""
    return Installation(
        tmp_path,
        database_url=database.url,
        simulator_port=simulator_process.base_port,
    )


@pytest.fixture(autouse=True)
def webhook_counter() -> Iterator[WebhookCounter]:
    """Count at once, without a thread that would outlive the test's database."""
    counter.save_every = timedelta(0)
    counter.forget()
    yield counter
    counter.forget()


@pytest.fixture(scope="session")
def simulator_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SimulatorProcess]:
    """The simulators, started once. Most tests should use `simulator` instead."""
    options = SimulationOptions(public_url=NOWHERE, receipt_delay=0.05, seed=1)
    directory = tmp_path_factory.mktemp("simulators")
    with SimulatorProcess(options, directory=directory) as process:
        yield process


@pytest.fixture
def simulator(
    simulator_process: SimulatorProcess,
    settings: Settings,
    request: pytest.FixtureRequest,
) -> Iterator[SimulatorClient]:
    """All providers of MESSAGE_PROVIDERS, simulated and without faults.

    Receipts go to the test's `live_server` if it requests one. The handset log
    (`simulator_process.handset_log`) starts empty.
    """
    public_url = NOWHERE
    if "live_server" in request.fixturenames:
        public_url = request.getfixturevalue("live_server").url
    client = simulator_process.client
    client.reset(truncate_handset_log=True)
    client.configure(public_url=public_url)
    settings.PUBLIC_URL = public_url  # covered by signatures
    settings.MESSAGE_PROVIDERS = simulated_providers(
        simulator_process.base_port, public_url=public_url
    )
    yield client
    client.reset()


@pytest.fixture
def token(db, django_user_model) -> Callable[..., str]:
    """Issues tokens: `token("admin")` returns the text of one with that scope."""

    def issue(scope: str, **fields) -> str:
        user, _ = django_user_model.objects.get_or_create(username=f"{scope} program")
        fields = {"expires_at": None} | fields
        return issue_token(user=user, scope=TokenScope[scope.upper()], **fields)[1]

    return issue


@pytest.fixture
def api(token) -> Callable[..., APIClient]:
    """API clients: `api("admin")` has a token with that scope."""

    def client(scope: str, **fields) -> APIClient:
        text = token(scope, **fields)
        return APIClient(headers={"Authorization": f"Bearer {text}"})

    return client
