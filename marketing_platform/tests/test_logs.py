"""No log tells whom we write to, or the keys that we do it with."""

from __future__ import annotations

import logging
import sys
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketing_platform.logs import Masking, known_secrets, mask
from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope

numbers = st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True).map("+{}".format)
emails = st.emails()
# Text around an address, as a careless line may have it.
frames = st.sampled_from(
    ["{}", "to {}.", "to={}&x=1", "<{}>", "'{}'", '{{"to": "{}"}}', "({})", "tel:{},"]
)


def all_loggers():
    """The root, and all that anybody has asked for by name."""
    named = [each for each in logging.root.manager.loggerDict if each]
    return [logging.getLogger(), *map(logging.getLogger, named)]


def our_handler():
    return next(each for each in logging.getLogger().handlers if each.name == "stderr")


def fail(text):
    raise ValueError(text)


def lines_for(address):
    """An address in the message, an argument and a traceback, through our handler."""
    handler, stream = our_handler(), StringIO()
    before = handler.setStream(stream)
    try:
        logger = logging.getLogger("messaging.queue.processor")
        for message, arguments in [
            (address.replace("%", "%%"), ()),
            ("%s", (address,)),
        ]:
            try:
                fail(address)
            except ValueError:
                record = logger.makeRecord(
                    logger.name, 40, "", 1, message, arguments, sys.exc_info()
                )
            handler.handle(record)
    finally:
        handler.setStream(before)
    return stream.getvalue()


@given(numbers, frames)
def test_no_number_is_written_in_full(number, frame):
    text = lines_for(frame.format(number))

    assert number not in text
    assert number[1:] not in text


@given(emails, frames)
def test_no_email_address_is_written_in_full(email, frame):
    assert email not in lines_for(frame.format(email))


def test_every_logger_ends_at_a_handler_that_masks():
    handlers = {
        handler
        for logger in all_loggers()
        for handler in logger.handlers
        if not type(handler).__module__.startswith("_pytest.")
        and not isinstance(handler, logging.NullHandler)
    }

    for handler in handlers:
        assert any(isinstance(each, Masking) for each in handler.filters), handler


@pytest.mark.parametrize(
    "name",
    [
        "messaging.queue.processor",
        "routing.webhooks",
        "django.request",
        "django.server",
        "django-q",
        "urllib3.connectionpool",
    ],
)
def test_whoever_logs_is_masked(name, written):
    logging.getLogger(name).error("To %s by %s", "+447400123456", "ada@example.com")

    assert "To +44*******456 by ***@example.com" in written.getvalue()


def test_the_secrets_of_settings_and_providers_are_masked(written, settings):
    options = {
        "AUTH_TOKEN": "canary-token",
        "API_SECRET": "canary-secret",
        "PASSWORD": "canary-password",
    }
    settings.MESSAGE_PROVIDERS = {"X": {"BACKEND": "x", "OPTIONS": options}}
    logger = logging.getLogger("routing.dispatch")

    logger.error("%s %s", settings.SECRET_KEY, options, stack_info=True)

    assert "canary" not in written.getvalue()
    assert settings.SECRET_KEY not in written.getvalue()


def test_a_secret_that_is_part_of_another_leaves_no_rest():
    secrets = sorted(["canary", "canary-and-more"], key=len, reverse=True)

    assert mask("canary-and-more", secrets=secrets) == "***"


def test_a_setting_that_is_empty_masks_nothing():
    assert all(known_secrets())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("'authorization': 'basic QWxhZGRpbg=='", "'authorization': 'basic ***'"),
        ("token mp_live_q-1_z is bad", "token *** is bad"),
        ("GET /x?q=%2B447400123456", "GET /x?q=+44*******456"),
        ("GET /x?q=ada%40example.com", "GET /x?q=***@example.com"),
        ("msisdn=447400123456&to=1", "msisdn=+44*******456&to=1"),
        ("+44 7400 123456 called", "+44*******456 called"),
        ("+1 (415) 555-0101, then", "+14******101, then"),
        ("+44 7400123456.", "+44*******456."),
        ("postgres://user:geheim@db:5432/x", "postgres://user:***@db:5432/x"),
        # What operators need stays.
        ("Message 1234567 by TwilioSMS 30007", "Message 1234567 by TwilioSMS 30007"),
        ("at 1764034108 in 12.000000000001 s", "at 1764034108 in 12.000000000001 s"),
        (
            "f47ac10b-58cc-4372-a567-012345678901",
            "f47ac10b-58cc-4372-a567-012345678901",
        ),
        ("2026-11-25 01:36:59,123 m12a3", "2026-11-25 01:36:59,123 m12a3"),
    ],
)
def test_what_is_masked_and_what_stays(text, masked):
    assert mask(text) == masked


def test_arguments_that_do_not_fit_are_masked_all_the_same(written):
    record = logging.LogRecord("x", 40, "", 1, "%d", ("+447400123456",), None)

    our_handler().handle(record)

    assert "+44*******456" in written.getvalue()


@pytest.mark.django_db
def test_a_token_of_our_api_is_masked(admin_user):
    _, token = issue_token(user=admin_user, scope=TokenScope.READ, expires_at=None)

    assert mask(f"It was {token}.") == "It was ***."
