"""No text of others commands a terminal, ends a log record or turns a page around."""

from __future__ import annotations

import pytest

from routing.providers.base import ProviderError
from routing.providers.wire import as_body, as_text
from routing.safe_text import escaped, one_line

COMMANDS = [
    *("\x1b[2J", "\x9b31m", "\x07", "\x08", "\x7f", "\x85", "\r\n", "\0"),
    *("\u202e", "\u2066", "\u200f", "\u2028", "\u2029", "\ufff9", "\U000e0041"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_provider_says_is_one_line_that_can_be_seen(command):
    said = f"No{command} route"

    for text in (
        as_text(said),
        str(ProviderError(said)),
        ProviderError(code=said).code,
    ):
        assert "\x1b" not in text
        assert one_line(text) == text
        assert text.isprintable()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_shows_a_command_as_an_escape(command):
    assert escaped(f"a{command}b").isprintable()
    assert escaped(f"a\n{command[0]}b", keep_lines=True).startswith("a\n")


@pytest.mark.parametrize("text", ["Grüße 👩\u200d👩\u200d👧", "שלום", "ﷺ", "1\t2"])
def test_words_and_emoji_stay(text):
    assert as_body(f"{text}\r\n{text}") == f"{text}\n{text}"
    assert escaped(text.replace("\t", " ")) == text.replace("\t", " ")


def test_the_flags_of_emoji_stay_in_a_message():
    england = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"

    assert as_body(england) == england
    assert as_body("a\x1b[31mb\u202ec") == "a[31mbc"
