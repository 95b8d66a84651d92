"""README.md, followed word for word on a fresh clone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from django.conf import settings

from marketing_platform.testing.installation import wait_until
from routing.simulators.process import free_base_port
from routing.vocabulary import MessageStatus

pytestmark = pytest.mark.long
TEXT = (Path(settings.BASE_DIR) / "README.md").read_text()
SECTION = TEXT.partition("## Send a campaign\n")[2].partition("\n## ")[0]
BLOCK = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
# The environment exists already, and no one can answer questions here.
ALREADY_DONE = ("make install", "source .venv/bin/activate")


@pytest.fixture
def newcomer(tmp_path):
    """Runs commands in a folder of its own; ends their background processes."""
    (tmp_path / "manage.py").symlink_to(Path(settings.BASE_DIR) / "manage.py")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NO_PROXY": "*",
        "STATE_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DATABASE_URL_FILE": "",
        "DJANGO_SUPERUSER_PASSWORD": "correct horse battery",
        "DJANGO_SUPERUSER_EMAIL": "admin@example.com",
    }
    started = []

    def run(script, **variables):
        log = tmp_path / "output.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-euc", script],
                cwd=tmp_path,
                env=environment | variables,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        returned = process.wait(timeout=180)
        output = log.read_text()
        assert returned == 0, output
        return output

    yield run
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)


def script_of(blocks, *, web, simulators):
    """The blocks as one script, on free ports."""
    lines = [line[4:] for block in blocks for line in block.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith(ALREADY_DONE))
    return (
        script.replace("9900", str(simulators))
        .replace("127.0.0.1:8000", f"127.0.0.1:{web}")
        .replace("runserver &", f"runserver --noreload 127.0.0.1:{web} &")
        .replace("createsuperuser ", "createsuperuser --noinput ")
    )


def test_the_campaign_and_the_message_of_the_readme_are_delivered(newcomer, tmp_path):
    recipients, *blocks = BLOCK.findall(SECTION)
    (tmp_path / "people.csv").write_text(textwrap.dedent(recipients))
    web, simulators = free_base_port(), free_base_port()
    script = script_of(blocks, web=web, simulators=simulators)
    public_url = f"http://127.0.0.1:{web}"

    output = newcomer(f"{script}\necho token=$TOKEN", PUBLIC_URL=public_url)

    assert "2 messages queued, 0 rows rejected" in output
    assert "Done: 2 claimed, 2 accepted" in output
    token = re.search(r"token=(\S+)", output)[1]
    wait_until(lambda: statuses(public_url, token) == [MessageStatus.DELIVERED] * 3)


def statuses(public_url, token):
    """The status of each message, from the API."""
    request = Request(
        f"{public_url}/api/messages", headers={"Authorization": f"Bearer {token}"}
    )
    with urlopen(request, timeout=30) as response:
        return [each["status"] for each in json.load(response)["results"]]
