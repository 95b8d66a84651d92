"""Text from outside takes time in proportion to its length, whatever it is.

Each regular expression of the project, and each function that reads outside text, gets
long inputs designed against it. With 20,000 characters a quadratic one takes seconds, a
linear one milliseconds, so that the limit works on a busy machine, too.
"""

from __future__ import annotations

import ast
import importlib
import logging
import pkgutil
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from django.test import Client

import marketing_platform
import messaging
import routing
from marketing_platform.logs import MESSAGE_LIMIT, Masking
from marketing_platform.masking import mask
from messaging.addresses import AddressError, parse_address
from messaging.rules.content import ContentError
from messaging.rules.merge_fields import Template, as_written, foreign_fields
from messaging.rules.public_urls import problem_with_url
from routing.csv_files import column_key, harmless, plain, squeezed
from routing.providers.transport.http import read_retry_after
from routing.providers.transport.mail import is_address
from routing.text.header_text import is_one_line
from routing.text.keywords import keyword_of
from routing.text.segments import split_segments
from routing.text.untrusted import (
    as_amount,
    as_body,
    as_text,
    escaped,
    form_fields,
    json_value,
    one_line,
    plain_lines,
)
from routing.vocabulary import Channel

parser = re._parser  # how the standard library parses an expression

LENGTH, SECONDS = 20_000, 0.4
SHORT = 0.05  # seconds
PATTERN_LENGTH, PATTERN_SECONDS = 10_000, 0.08
PACKAGES = (marketing_platform, messaging, routing)
UNITS = [
    *"a1 +(.-@%/\\\"'=&?,;:{}[]<>\n\t\0é\u202e\u0660😀",
    *(
        "a@",
        "1 ",
        "1.",
        "%40",
        "%2B",
        "+1 (",
        "Bearer ",
        "mp_live_",
        "{{",
        "{{ a ",
        '"@',
    ),
    *(
        "2026-11-30 ",
        "f47ac10b-",
        "to=",
        "((",
        "[[",
        '{"a":',
        "stop ",
        "\r\n",
        "=?",
        "a=",
    ),
]


def modules():
    """The project's modules, without tests."""
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not {"tests", "testing", "migrations"} & set(found.name.split(".")):
                yield importlib.import_module(found.name)


def patterns():
    """Expressions in modules' variables, and in calls of `re`."""
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, re.Pattern):
                yield value
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if is_inline(node):
                yield re.compile(node.args[0].value)


def is_inline(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str | bytes)
    )


def samples(node):
    """One character for each thing that an expression matches."""
    kind, value = node if isinstance(node, tuple) and len(node) == 2 else (None, None)
    if kind is parser.LITERAL:
        yield chr(value)
    elif kind is parser.RANGE:
        yield chr(value[0])
    elif kind is parser.CATEGORY:
        yield {"DIGIT": "7", "SPACE": " ", "WORD": "w"}.get(str(value)[9:], "\x01")
    elif isinstance(node, list | tuple | parser.SubPattern):
        for each in node:
            yield from samples(each)


def attacks(pattern):
    """Long texts of what it matches, alone and in pairs, with a bad end."""
    text = pattern.pattern
    tree = parser.parse(text, pattern.flags)
    wanted = list(dict.fromkeys(samples(tree)))[:8]
    units = dict.fromkeys([*wanted, *map("".join, product(wanted[:5], repeat=2))])
    for unit in units:
        attack = unit * (PATTERN_LENGTH // len(unit)) + "\x01"
        yield attack if isinstance(text, str) else attack.encode("latin-1", "replace")


def seconds(function, *arguments):
    """Processor time; the best of three if the first is not short."""
    best = _seconds_once(function, arguments)
    if best > SHORT:
        best = min(best, *(_seconds_once(function, arguments) for _ in range(2)))
    return best


def _seconds_once(function, arguments):
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def is_slow(pattern):
    """Whether any attack takes more than a hundred times as long as it should."""
    return any(
        seconds(look, attack) > PATTERN_SECONDS
        for attack in attacks(pattern)
        for look in (pattern.findall, pattern.fullmatch)
    )


def test_every_expression_takes_linear_time():
    slow = [pattern.pattern for pattern in set(patterns()) if is_slow(pattern)]

    assert not slow, "Give it possessive quantifiers and an anchor, or split first."


def read_address(text):
    with suppress(AddressError):
        parse_address(Channel.SMS, text, region="DE")
    with suppress(AddressError):
        parse_address(Channel.EMAIL, f"{text}@example.com")


def parse_template(text):
    with suppress(ContentError):
        Template(text)


def log(text):
    record = logging.LogRecord("x", logging.ERROR, "", 1, "Invalid: %s", (text,), None)
    record.exc_text = text
    Masking().filter(record)


READERS = [
    *(mask, log, read_address, is_address, is_one_line, keyword_of, split_segments),
    *(parse_template, foreign_fields, as_written, problem_with_url),
    *(column_key, squeezed, harmless, plain),
    *(one_line, plain_lines, escaped, as_text, as_body, as_amount, json_value),
    lambda text: form_fields(text.encode(errors="replace")),
    lambda text: read_retry_after(text, now=datetime.now(UTC)),
]


def test_every_reader_of_outside_text_takes_linear_time():
    slow = [
        (READERS.index(read), unit)
        for read, unit in product(READERS, UNITS)
        if seconds(read, unit * (LENGTH // len(unit))) > SECONDS
    ]

    assert not slow


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header",
    [
        *("Host", "User-Agent", "Accept", "Accept-Language", "Accept-Encoding"),
        *("Authorization", "Cookie", "Content-Type", "If-None-Match", "Referer"),
        *("Range", "X-Forwarded-Proto", "Idempotency-Key", "X-Twilio-Signature"),
    ],
)
def test_no_header_holds_a_thread(header):
    """Even one of the full length that a server allows."""
    client = Client(raise_request_exception=False)
    for unit in ("a", "a,", "a;q=1,", "1.", '"', "=a&"):
        text = unit * (LENGTH // len(unit))
        for method, path in [
            ("get", "/api/messages"),
            ("post", "/webhooks/TwilioSMS/"),
        ]:
            call = partial(getattr(client, method), path, headers={header: text})
            assert seconds(call) < SECONDS * 2, unit


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/{}", "/{}/", "/api/messages/{}", "/admin/?{}", "/?q={}"]
)
def test_no_path_or_query_holds_a_thread(path):
    client = Client(raise_request_exception=False)
    for unit in ("a", "/", "%40", "+1", "&a=b", "..", "0", "-"):
        call = partial(client.get, path.format(unit * (LENGTH // len(unit))))
        assert seconds(call) < SECONDS * 2, unit


def test_a_record_is_cut_and_the_cut_shows_no_half_of_a_secret(settings):
    for before in range(MESSAGE_LIMIT - 60, MESSAGE_LIMIT + 1000, 13):
        text = "x" * before + " " + settings.SECRET_KEY + " +447400123456 " + "y" * 9999
        record = logging.LogRecord("x", 40, "", 1, text, None, None)
        Masking().filter(record)

        assert len(record.msg) < MESSAGE_LIMIT + 100
        assert settings.SECRET_KEY[:3] not in record.msg
        assert "+447" not in record.msg
        assert record.msg.endswith("characters)")
