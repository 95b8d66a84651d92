"""Whoever calls while the database is away is asked to try again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.core.handlers.exception import convert_exception_to_response
from django.db import DatabaseError, OperationalError, connection
from django.test import RequestFactory

from marketing_platform.web_queries import AWAY, trouble_of

NO_DATABASE = "postgres://nobody:nothing@127.0.0.1:1/none"
# Calls of the whole web application, without a test's transaction or connection.
CALLS = """
import json, sys
from io import BytesIO
from urllib.parse import urlencode

from marketing_platform.wsgi import application
from django.conf import settings
from routing.simulators.twilio import sign

def call(method, path, body=b"", **headers):
    told = {}
    def start(status, fields, *_):
        told.update(status=int(status[:3]), headers=dict(fields))
    answer = application({
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "HTTP_HOST": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, **headers,
    }, start)
    return told | {"body": b"".join(answer).decode()}

def receipt():
    path = "/webhooks/TwilioSMS/"
    fields = {"MessageSid": "SM1", "MessageStatus": "sent", "To": "+14155550111"}
    return call(
        "POST", path, urlencode(fields).encode(),
        CONTENT_TYPE="application/x-www-form-urlencoded",
        HTTP_X_TWILIO_SIGNATURE=sign(settings.PUBLIC_URL + path, fields),
    )

token = {"HTTP_AUTHORIZATION": "Bearer mp_live_" + 43 * "x"}
print(json.dumps({
    "read": call("GET", "/api/messages", **token),
    "post": call("POST", "/api/messages", b"{}", CONTENT_TYPE="application/json",
                 HTTP_IDEMPOTENCY_KEY="1", **token),
    "receipt": receipt(),
    "page": call("GET", "/admin/", HTTP_COOKIE="sessionid=" + 32 * "a"),
}))
"""


@pytest.fixture(scope="module")
def answers():
    """Of a web process whose database does not answer."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "marketing_platform.settings",
        "DATABASE_URL": NO_DATABASE,
        "DATABASE_URL_FILE": "",
        "PROVIDER_SIMULATOR_PORT": "9900",
        "PUBLIC_URL": "http://127.0.0.1",
        "LOG_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-c", CALLS]
    return json.loads(subprocess.check_output(command, env=environment, text=True))


@pytest.mark.parametrize("call", ["read", "post", "receipt", "page"])
def test_every_call_is_asked_to_come_again(answers, call):
    answer = answers[call]

    assert answer["status"] == 503
    assert answer["headers"]["Retry-After"] == str(AWAY.retry_after)
    assert AWAY.detail in answer["body"]


@pytest.mark.parametrize("call", ["read", "post"])
def test_the_api_says_so_in_its_own_format(answers, call):
    assert answers[call]["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(answers[call]["body"])["status"] == 503


def test_it_is_said_as_well_when_a_middleware_met_it():
    def in_middleware(request):
        raise OperationalError("database is locked")

    django = convert_exception_to_response(in_middleware)

    assert django(RequestFactory().get("/api/messages")).status_code == 503


@pytest.mark.parametrize(
    "error", [ValueError("no"), DatabaseError("no"), OperationalError("no such table")]
)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="Of SQLite's own kind")
def test_an_error_of_ours_is_not_the_databases(error):
    assert trouble_of(error) is None


@pytest.mark.parametrize("text", ["database is locked", "disk I/O error"])
@pytest.mark.skipif(connection.vendor != "sqlite", reason="Of SQLite's own kind")
def test_a_file_that_cannot_be_used_now_is_away(text):
    assert trouble_of(OperationalError(text)) is AWAY
