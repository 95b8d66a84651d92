"""Files of our processes are readable by their owner only."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import pytest
from django.conf import settings
from django.utils import timezone

from marketing_platform.diagnosis.doors import files
from marketing_platform.diagnosis.findings import Level

WRITES = (
    "import django; django.setup(); from pathlib import Path; "
    "from messaging.audience.rejects_file import RejectsFile; "
    "from messaging.audience.recipients import Rejection; "
    "from django.db import connection as c; c.cursor().execute('CREATE TABLE t (x)'); "
    "from routing.csv_files import CsvFile; rows = Path('people.csv'); "
    "rows.write_text('phone\\n1\\n'); "
    "r = RejectsFile(rows).of(CsvFile(rows)).__enter__(); "
    "r.write(Rejection(2, 'why', 'who')); "
    "print(*Path('.').iterdir())"
)


@pytest.mark.parametrize(("umask", "mode"), [({}, 0o600), ({"UMASK": "027"}, 0o640)])
def test_files_are_made_for_their_owner(tmp_path, umask, mode):
    environment = {
        "DJANGO_SETTINGS_MODULE": "marketing_platform.settings",
        "PYTHONPATH": str(settings.BASE_DIR),
        "PATH": os.environ["PATH"],
        "STATE_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }
    subprocess.run(
        [sys.executable, "-c", WRITES],
        cwd=tmp_path,
        env=environment | umask,
        check=True,
        umask=0o022,
    )

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.iterdir()
        if path.is_file() and path.name != "secret_key"
    }
    assert {"db.sqlite3", "people.rejected.csv"} <= modes.keys()
    assert set(modes.values()) == {mode}


@pytest.mark.django_db
def test_the_doctor_finds_a_database_that_everybody_can_read(tmp_path, settings):
    path = tmp_path / "db.sqlite3"
    sqlite3.connect(path).close()
    settings.STATE_DIR = settings.BASE_DIR = tmp_path
    (tmp_path / "secret_key").write_text("x")
    (tmp_path / "secret_key").chmod(0o644)

    finding = files(timezone.now())

    assert finding.level == Level.WARN
    assert "secret_key" in finding.text
    (tmp_path / "secret_key").chmod(0o600)
    assert files(timezone.now()).level == Level.OK
