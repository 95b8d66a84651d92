"""Workers on separate hosts, where one host is cut off while sending."""

from __future__ import annotations

import os
import time
from urllib.parse import quote

import pytest

from marketing_platform.demo.stage import free_port
from marketing_platform.testing.databases import PostgresDatabase
from marketing_platform.testing.embedded_postgres import Reach, running_server
from marketing_platform.testing.faults.environment import LEASE_SECONDS, Environment
from marketing_platform.testing.faults.hosts import NETWORK, HostsNotPossible, hosts
from marketing_platform.testing.faults.scenario import Scenario
from marketing_platform.testing.installation import wait_until
from marketing_platform.tests.faults.conftest import SHORT_TRANSACTIONS
from routing.simulators.credentials import PORT_OFFSETS

MESSAGES = 600
VENDORS = ("twilio", "vonage")


@pytest.fixture
def three_hosts(database_kind, simulator_process):
    if database_kind != "postgresql":
        pytest.skip("many hosts need PostgreSQL")
    ports = [simulator_process.base_port + PORT_OFFSETS[each] for each in VENDORS]
    try:
        with hosts(3, ports=ports) as built:
            yield built
    except HostsNotPossible as reason:
        pytest.skip(str(reason))


@pytest.fixture
def house_of_three(three_hosts, tmp_path, simulator_process):
    """An environment whose PostgreSQL listens where the hosts can reach it."""
    port = free_port()
    addresses = ",".join(host.gateway for host in three_hosts)
    reach = Reach(addresses=addresses, port=port, trusted=NETWORK)
    with running_server(reach=reach) as server:
        url = f"{server.url}&options={quote(SHORT_TRANSACTIONS)}"
        database = PostgresDatabase(url, f"faults_{os.getpid()}")
        environment = Environment(
            tmp_path, database=database, simulators=simulator_process, messages=MESSAGES
        )
        with environment.open():
            yield environment
            environment.end()


@pytest.mark.faults(
    row="27c",
    done="three workers on separate hosts; one is cut off while sending, and comes "
    "back after two leases",
    holds="the others send what it had; its late results overwrite nothing",
)
def test_a_host_that_is_cut_off(three_hosts, house_of_three, put_on_record):
    scenario = Scenario(house_of_three, count=MESSAGES)
    scenario.simulator.configure(latency=0.5)
    for host in three_hosts:
        scenario.start(on=host)
    wait_for_workers(scenario, len(three_hosts))

    scenario.wait_for_accepted(60)
    three_hosts[0].cut_off()
    recovery = scenario.recover()
    time.sleep(max(0.0, 2 * LEASE_SECONDS - recovery.until_settled))
    three_hosts[0].mend()
    for worker in house_of_three.workers:
        worker.stop()
    verdict = scenario.verdict()
    late = scenario.attempts("is_late")
    put_on_record(verdict, recovery, late_results=late)
    assert verdict.is_clean
    assert verdict.recovered + verdict.flagged == verdict.unknown
    assert verdict.accepted + verdict.flagged >= MESSAGES


def wait_for_workers(scenario, count):
    wait_until(lambda: scenario.count("messaging_workerheartbeat", "1 = 1") == count)
