"""The API against its own description: no request breaks it.

Schemathesis generates good and bad requests from /api/schema/, and checks the responses
against it. They are few, and the same on every run.
"""

from __future__ import annotations

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import positive_data_acceptance

from marketing_platform.wsgi import application
from messaging.factories import MessageFactory
from routing.factories import AttemptFactory, RouteFactory

pytestmark = [pytest.mark.django_db, pytest.mark.long]

# Not in the description: which providers there are, which numbers exist.
UNSOUND = [positive_data_acceptance]


def description(*, edges):
    """The operations; with `edges`, every limit of every field is tried as well."""
    schema = schemathesis.openapi.from_wsgi("/api/schema?format=json", application)
    coverage = schema.config.phases.coverage
    coverage.enabled = edges
    coverage.unexpected_methods = set()  # test_security_matrix.py has those
    return schema


whole, rough = description(edges=True), description(edges=False)


def few(max_examples):
    return settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def one_connection():
    """WSGI closes connections between requests; the test's transaction needs one."""
    around_requests = (request_started, request_finished)
    for signal in around_requests:
        signal.disconnect(close_old_connections)
    yield
    for signal in around_requests:
        signal.connect(close_old_connections)


@pytest.fixture
def admin(token, settings):
    """The headers of an administrator without a rate limit."""
    settings.API_RATE_PER_SECOND = settings.API_BURST = 1e6
    return {"Authorization": f"Bearer {token('admin')}"}


@pytest.fixture
def rows(db):
    """Rows to find, at small ids."""
    RouteFactory(pk=1)
    AttemptFactory(message=MessageFactory(pk=1))


@whole.parametrize()
@few(10)
@pytest.mark.usefixtures("rows")
def test_an_administrator_is_answered_as_described(case, admin):
    case.call_and_validate(headers=admin, excluded_checks=UNSOUND)


@rough.parametrize()
@few(5)
def test_who_has_no_token_is_told_so(case):
    answer = case.call()

    assert answer.status_code in (401, 404)  # 404: not even an address
    assert answer.headers["content-type"] == ["application/problem+json"]
