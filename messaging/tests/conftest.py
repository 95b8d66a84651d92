"""Fixtures of the messaging tests."""

from __future__ import annotations

import pytest
from django.db import connection

from routing.factories import RouteFactory

MEMORY_PROVIDERS = {
    "TwilioSMS": {"BACKEND": "routing.providers.memory.MemorySMS"},
    "VonageSMS": {"BACKEND": "routing.providers.memory.MemorySMS"},
}


@pytest.fixture
def memory_providers(settings):
    """Both providers of the default SMS route keep their messages in memory."""
    settings.MESSAGE_PROVIDERS = MEMORY_PROVIDERS


@pytest.fixture
def route(db, memory_providers):
    """The default SMS route."""
    return RouteFactory()


@pytest.fixture
def needs_a_server(db):
    """For tests that need several connections at once."""
    if connection.vendor != "postgresql":
        pytest.skip("an in-memory SQLite database has one connection")
