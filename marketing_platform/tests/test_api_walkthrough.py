"""Runs every curl command of docs/api.md as written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

# From "curl" up to the next one, the status in the comment after it, or an empty line.
COMMAND = re.compile(
    r"^    (curl .*?)\n(?:    # (\d{3})\n|(?=    curl |\s*\n|\Z))",
    re.MULTILINE | re.DOTALL,
)
TEXT = (Path(settings.BASE_DIR) / "docs/api.md").read_text()
# The variable in which the document has the id, by the request that creates it.
IDS = {
    "/routingconfig": "ROUTE_ID",
    "/messages": "MESSAGE_ID",
    "/campaigns": "CAMPAIGN_ID",
}


class Shell:
    """Runs curl commands, with the document's variables."""

    def __init__(self, directory, **variables):
        self.answer = directory / "answer.json"
        self.variables = {"PATH": os.environ["PATH"], "NO_PROXY": "*", **variables}

    def run(self, command):
        """The status of the response; a new id becomes a variable."""
        quiet = f'curl -sS --max-time 60 -o "{self.answer}" -w "%{{http_code}}" '
        done = subprocess.run(
            ["/bin/sh", "-euc", command.replace("curl ", quiet, 1)],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        self._keep_id(command)
        return int(done.stdout)

    def _keep_id(self, command):
        made = re.match(r'curl -X POST "\$API(/\w+)" ', command)
        if made and made[1] in IDS:
            found = json.loads(self.answer.read_text())
            self.variables[IDS[made[1]]] = str(found.get("id", ""))


@pytest.fixture
def shell(live_server, simulator, token, tmp_path):
    call_command("loaddata", "default_routes", verbosity=0)  # as in the README
    return Shell(
        tmp_path,
        API=f"{live_server.url}/api",
        TOKEN=token("read"),
        SEND_TOKEN=token("send"),
        ADMIN_TOKEN=token("admin"),
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on PATH")
def test_every_command_of_the_document_is_answered_as_it_says(shell):
    for command, status in COMMAND.findall(TEXT):
        answered = shell.run(command)

        assert str(answered) == status or (not status and 200 <= answered < 300), (
            f"docs/api.md has\n{command}\nwhich was answered {answered}, not "
            f"{status or '2xx'}:\n{shell.answer.read_text()}"
        )


def test_the_commands_are_found():
    found = [command for command, _ in COMMAND.findall(TEXT)]

    assert len(found) == TEXT.count("\n    curl ")
    assert '"$API/routingconfig/$ROUTE_ID"' in found[2]
    assert [status for _, status in COMMAND.findall(TEXT)][:2] == ["201", "200"]
