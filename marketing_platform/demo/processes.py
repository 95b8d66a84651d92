"""The commands of the demo's processes."""

from __future__ import annotations

import sys

from django.conf import settings


def web_command(public_url: str) -> list[str]:
    """Serves back office and webhooks at this URL of the loopback interface."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "marketing_platform.wsgi",
        f"--bind={public_url.removeprefix('http://')}",
        f"--config={settings.BASE_DIR / 'gunicorn.conf.py'}",
        f"--chdir={settings.BASE_DIR}",
        "--workers=1",
        "--no-control-socket",
    ]
