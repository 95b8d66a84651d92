"""No log contains recipients or keys."""

from __future__ import annotations

import logging
import sys
from io import StringIO

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketing_platform.logs import Masking, known_secrets, mask
from marketing_platform.tokens.services import issue_token
from marketing_platform.tokens.vocabulary import TokenScope

numbers = st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True).map("+{}".format)
emails = st.emails()
# Text around an address, as in careless log lines.
frames = st.sampled_from(
    ["{}", "to {}.", "to={}&x=1", "<{}>", "'{}'", '{{"to": "{}"}}', "({})", "tel:{},"]
)

KEPT = [
    "took 1764034108.123456 s at 1764034108123, 20261130103748",
    "30.11.2026, 2026/11/30, 2026-11-30T10:37:48Z",
    "10.213.100.200:5432, 192.168.1.1, 1.2.3",
    "SM0123456789abcdef0123456789abcdef 12345678901abcdef m12345678901a1",
    '"GET /admin/x/123456789/change/ HTTP/1.1" 200 1234567',
    "300,000 of 1,000,000; batch 50 200 90; 0.0079 USD",
    "line 12, in x\n    345678",
    "/api/messages/1234567/attempts/12345678 id 123456789012345678",
]


def all_loggers():
    """The root logger, and all loggers created by name."""
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
        logger = logging.getLogger("messaging.queue.worker")
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
    assume(email.lstrip("*")[0] != "@")  # what a mask looks like
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
        "messaging.queue.worker",
        "routing.receipts.webhooks",
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
        # National, in any format.
        ("to 07400 123456 now", "to 07******456 now"),
        ("0151/23456789, 06.12.34.56.78", "01*******789, 06*****678"),
        ("(415) 555-2671 or 415.555.2671", "(41*****671 or 41*****671"),
        ("4155552671, 98765 43210", "41*****671, 98*****210"),
        ("phone: '612 34 56 78'", "phone: '61****678'"),
        ('{"to": "40012345"}', '{"to": "40***345"}'),
        ("?q=07400+123456&to=40012345", "?q=07******456&to=40***345"),
        ("?q=%2807400%29%20123456", "?q=%2807******456"),
        ("0044 7400 123456 \uff0b447400123456", "+44*******456 +44*******456"),
        ("\u7535\u8bdd13800138000", "\u7535\u8bdd+13******000"),
        ("447400123456 447400123457", "+44*******456 +44*******457"),
        ("recipients=['91234567']", "recipients=['91***567']"),
        ("whatsapp: 91234567 cell=91234567", "whatsapp: 91***567 cell=91***567"),
        ("\uff10\uff17" + "\uff14" * 9, "07******444"),
        # Local parts, and at signs, of all kinds.
        ('"ada lovelace"@example.com', "***@example.com"),
        ("o'brien@example.com tim/sales@x.com", "***@example.com ***@x.com"),
        ("to=a+b&c@b\u00fccher.example", "to=***@b\u00fccher.example"),
        ("ada@[192.168.0.1] ada\uff20x.com", "***@[192.168.0.1] ***@x.com"),
        ("?q=ada%2540example.com", "?q=***@example.com"),
        (r'"ada\u0040example.com"', '"***@example.com"'),
        ("/unsub/ada@example.com?x", "/unsub/***@example.com?x"),
        # Not masked, because operators need it.
        ("Message 1234567 by TwilioSMS 30007", "Message 1234567 by TwilioSMS 30007"),
        ("at 1764034108 in 12.000000000001 s", "at 1764034108 in 12.000000000001 s"),
        (
            "f47ac10b-58cc-4372-a567-012345678901",
            "f47ac10b-58cc-4372-a567-012345678901",
        ),
        ("2026-11-25 01:36:59,123 m12a3", "2026-11-25 01:36:59,123 m12a3"),
        *((text, text) for text in KEPT),
    ],
)
def test_what_is_masked_and_what_stays(text, masked):
    assert mask(text) == masked


def test_a_record_is_one_line_that_no_terminal_acts_on(written):
    text = "\x1b[2J\n2026-11-30 ERROR forged\r\x9b1m\u202egnp.exe\u2028x\ud800"

    logging.getLogger("routing.dispatch").error("It said %s", text)

    assert (
        r"said \x1b[2J\n2026-11-30 ERROR forged\r\x9b1m\u202egnp" in written.getvalue()
    )
    assert written.getvalue().count("\n") == 1


def test_no_line_of_a_traceback_looks_like_a_record(written):
    try:
        fail("\x1b]0;title\x07\n2026-11-30 10:00:00 ERROR forged")
    except ValueError:
        logging.getLogger("routing.dispatch").exception("It failed")

    _, *lines = written.getvalue().splitlines()
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in written.getvalue()


def test_arguments_that_do_not_fit_are_masked_all_the_same(written):
    record = logging.LogRecord("x", 40, "", 1, "%d", ("+447400123456",), None)

    our_handler().handle(record)

    assert "+44*******456" in written.getvalue()


@pytest.mark.django_db
def test_a_token_of_our_api_is_masked(admin_user):
    _, token = issue_token(user=admin_user, scope=TokenScope.READ, expires_at=None)

    assert mask(f"It was {token}.") == "It was ***."
