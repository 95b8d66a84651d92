"""The examples in deploy/ fit the project; checked without Docker and systemd."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from marketing_platform.provider_settings import provider_classes
from messaging.cluster.watchdog import LEAVE_WITHIN

ROOT = Path(settings.BASE_DIR)
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORKERS = ["cluster", "queue"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def unit(path):
    """The sections of a unit."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


def started(path):
    """The commands that a unit runs, in order."""
    return re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)


def management_commands(text):
    """The names of the management commands in a command line or a file."""
    return re.findall(r"manage\.py,? (\w+)", text)


def seconds(text):
    return int(text.removesuffix("s"))


def example_variables():
    text = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^# ?(\w+)=", text, re.MULTILINE))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_something_that_the_project_has(path):
    for command in started(path):
        assert "marketing_platform.wsgi" in command or management_commands(command)
        assert set(management_commands(command)) <= set(get_commands())


@pytest.mark.parametrize("kind", WORKERS)
def test_a_unit_of_a_worker_comes_back_and_may_finish_what_is_in_flight(kind):
    service = unit(DEPLOY / "systemd" / f"messages-{kind}.service")["Service"]

    assert service["Restart"] == "always"
    assert service["KillMode"] == "mixed"
    assert seconds(service["TimeoutStopSec"]) > LEAVE_WITHIN.total_seconds()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_no_unit_runs_as_root(path):
    assert unit(path)["Service"]["User"] == "messages"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_an_image_known_volumes_and_known_predecessors(name):
    service = SERVICES[name]

    assert service["image"]
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
    assert volumes <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_something_that_the_project_has(name):
    command = ", ".join(SERVICES[name].get("command", []))

    assert set(management_commands(command)) <= set(get_commands())


PRUNING = [
    " ".join(started(DEPLOY / "systemd" / "messages-prune.service")),
    " ".join(SERVICES["prune"]["command"]),
]


@pytest.mark.parametrize("line", PRUNING, ids=["systemd", "compose"])
def test_all_that_grows_for_ever_is_cleared_away_every_day(line):
    assert management_commands(line) == ["prune", "prune_audit", "clearsessions"]
    for name in ("prune", "prune_audit"):
        options = re.search(rf"manage\.py {name}((?: --[\w-]+ \w+)+)", line)[1].split()
        command = load_command_class(get_commands()[name], name)
        assert command.create_parser("manage.py", name).parse_args(options)


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_in_a_container_comes_back_and_may_finish_what_is_in_flight(name):
    service = SERVICES[name]

    assert service["restart"] == "always"
    assert service["init"] is True
    assert seconds(service["stop_grace_period"]) > LEAVE_WITHIN.total_seconds()


def test_every_variable_that_compose_wants_is_in_the_example():
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))

    assert wanted <= example_variables()
    assert wanted >= {"POSTGRES_PASSWORD", "SECRET_KEY"}


def test_every_variable_of_the_settings_is_in_the_example():
    platform = ROOT / "marketing_platform"
    read = set()
    for name in ("settings.py", "provider_settings.py"):
        text = (platform / name).read_text()
        read |= set(re.findall(r"env\.\w+\(\s*\"(\w+)\"", text))

    variables = {
        option.variable for cls in provider_classes() for option in cls.declared_options
    }
    read |= variables - {""}

    assert len(read) > 40
    named = set(re.findall(r"\w+", (ROOT / ".env.example").read_text()))
    assert not read - named, "Add these to .env.example."


def test_no_example_has_a_comment_where_systemd_would_take_it_for_the_value():
    lines = (ROOT / ".env.example").read_text().splitlines()
    examples = [line for line in lines if re.match(r"# \w+=", line)]

    assert len(examples) > 40
    assert [line for line in examples if re.search(r"=.*#", line)] == []


def test_the_image_has_what_the_project_consists_of_and_does_not_run_as_root():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if re.match(r"COPY [^-]", line)]

    assert all((ROOT / path).exists() for path in copied)
    assert {"marketing_platform", "messaging", "routing", "templates"} <= set(copied)
    assert "USER messages" in lines


def test_the_image_takes_the_files_of_the_lock_and_no_others():
    (install,) = re.findall(
        r"pip install (.*)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
    )

    options = install.split()
    assert {"--require-hashes", "--no-deps"} <= set(options)
    assert options[-2:] == ["-r", "/requirements.txt"]


def test_nothing_else_reaches_the_image():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert ignored[0] == "*"
    assert not {"!.env", "!var", "!.git"} & set(ignored)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem
)
def test_a_document_names_commands_that_exist(path):
    named = re.findall(r"manage\.py (\w+)", path.read_text())

    assert set(named) <= set(get_commands())
