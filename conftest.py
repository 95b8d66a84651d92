"""Fixtures for all apps: the simulated providers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from marketing_platform.provider_settings import simulated_providers
from routing.simulators.client import SimulatorClient
from routing.simulators.process import SimulatorProcess
from routing.simulators.simulation import SimulationOptions

# Nobody listens there: receipts of a test without `live_server` go nowhere.
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="session")
def simulator_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SimulatorProcess]:
    """The simulators, started once. Most tests want `simulator` instead."""
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
    """All providers of MESSAGE_PROVIDERS, simulated and in good health.

    Receipts come to the test's `live_server` if it asks for one. The handset log
    (`simulator_process.handset_log`) begins empty.
    """
    public_url = NOWHERE
    if "live_server" in request.fixturenames:
        public_url = request.getfixturevalue("live_server").url
    client = simulator_process.client
    client.reset(truncate_handset_log=True)
    client.configure(public_url=public_url)
    settings.PUBLIC_URL = public_url  # which signatures cover
    settings.MESSAGE_PROVIDERS = simulated_providers(
        simulator_process.base_port, public_url=public_url
    )
    yield client
    client.reset()
