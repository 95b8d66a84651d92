"""Run one benchmark in this process: `python -m benchmarks.child NAME`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import django

from benchmarks.accounts import accounts

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "marketing_platform.settings"
    os.environ |= accounts()
    django.setup()
    for row in import_module(f"benchmarks.{sys.argv[1]}").run():
        row.emit()
