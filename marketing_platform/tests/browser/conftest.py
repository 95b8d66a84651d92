"""A browser on the back office, which fails a test on what a person would not see."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    sync_playwright,
)
from pytest_django.live_server_helper import LiveServer

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True}

Open = Callable[..., Page]


@pytest.fixture(autouse=True)
def _one_thread_per_connection() -> None:
    """The pages are served from another thread than the test's."""
    if connection.vendor == "sqlite":
        pytest.skip("an in-memory SQLite database has one thread")


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Chromium, without a window; for one test, because as long as it is there, no
    other test of this process could run an event loop.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium: `make browser` installs it.")
    if path is None:
        pytest.skip("there is no Chromium: `make browser` installs it")
    # Playwright runs an event loop in this thread, which Django takes for async code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()
        # Beside a running loop Django opens another connection for the same thread.
        connections.close_all()


@pytest.fixture
def office(browser: Browser, live_server: LiveServer) -> Iterator[Open]:
    """Opens a page of the back office as an administrator, and watches it.

    The test fails if a page violates its Content-Security-Policy, logs an error, or
    asks for anything outside of this host.
    """
    complaints: list[str] = []
    contexts: list[BrowserContext] = []
    user = User.objects.create_superuser("ada", password="ada")

    def open_page(path: str, **options: object) -> Page:
        context = browser.new_context(**{**DESKTOP, **options})
        contexts.append(context)
        context.add_cookies([_session_of(user, live_server.url)])
        context.on("request", lambda request: _check(request.url, complaints))
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda said: _hear(said.type, said.text, complaints))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(live_server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _session_of(user: User, url: str) -> Any:
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}


def _check(url: str, complaints: list[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme != "data" and parts.hostname not in ("localhost", "127.0.0.1"):
        complaints.append(f"A request to {url}")


def _hear(kind: str, text: str, complaints: list[str]) -> None:
    if kind in ("error", "warning"):
        complaints.append(text)
