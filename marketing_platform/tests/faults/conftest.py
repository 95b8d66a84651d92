"""Fixtures of the fault tests: an environment on each database, and scenarios."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from django.conf import settings

from marketing_platform.testing.databases import PostgresDatabase, SQLiteFile
from marketing_platform.testing.embedded_postgres import running_server
from marketing_platform.testing.faults.environment import Environment
from marketing_platform.testing.faults.evidence import Evidence, keep
from marketing_platform.testing.faults.scenario import Scenario

KINDS = ["sqlite", "postgresql"]
MESSAGES = 2000
SHORT_TRANSACTIONS = "-c idle_in_transaction_session_timeout=2s"
SHOWN = ("messages", "lost", "doubled", "unknown", "recovered", "flagged")


LONG_FORM = 100  # with at least this many kills, run the long form


def pytest_collection_modifyitems(config, items):
    """Leave slow tests that add little to the long form."""
    if int(os.environ.get("FAULTS_KILLS", "0")) >= LONG_FORM:
        return
    left_out = [item for item in items if item.get_closest_marker("long_form")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc):
    """Run all tests on the database given by --faults-on, or on both."""
    if "database_kind" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--faults-on")
        kinds = [wanted] if wanted else KINDS
        metafunc.parametrize("database_kind", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def database_kind(request):
    return request.param


@pytest.fixture(scope="session")
def postgres_server():
    """A server of our own, which can be stopped and started."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def environment(database_kind, request, tmp_path_factory, simulator_process):
    """An installation on each database in turn."""
    directory = tmp_path_factory.mktemp(database_kind)
    if database_kind == "sqlite":
        database = SQLiteFile(directory / "faults.sqlite3")
    else:
        server = request.getfixturevalue("postgres_server")
        url = f"{server.url}&options={quote(SHORT_TRANSACTIONS)}"
        database = PostgresDatabase(url, f"faults_{os.getpid()}")
    built = Environment(
        directory, database=database, simulators=simulator_process, messages=MESSAGES
    )
    with built.open():
        yield built


@pytest.fixture
def make_scenario(environment):
    """Makes the test's scenario; its workers end with it."""
    yield lambda **wishes: Scenario(environment, **wishes)
    environment.end()


@pytest.fixture
def put_on_record(request, database_kind):
    """Saves the measurements, for docs/reliability.md."""

    def put(verdict, recovery=None, **figures):
        of_verdict = {
            name: getattr(verdict, name)
            for name in (
                "messages",
                "lost",
                "doubled",
                "unknown",
                "recovered",
                "flagged",
            )
        }
        times = {"seconds": recovery.until_accounted} if recovery else {}
        about = request.node.get_closest_marker("faults").kwargs
        evidence = Evidence(
            name=_selector(request.node),
            database=database_kind,
            figures=of_verdict | figures | times,
            **about,
        )
        keep(evidence, settings.STATE_DIR / "faults.jsonl")

    return put


def _selector(node):
    """The -k expression that selects the test, on all databases."""
    kind = node.callspec.params["database_kind"]
    case = node.callspec.id.removeprefix(kind).removeprefix("-")
    return " and ".join(filter(None, [node.originalname, case]))
