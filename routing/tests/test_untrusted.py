"""No text from outside controls a terminal, ends a log record or reverses a page."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import get_commands, load_command_class
from rich.table import Table

from routing.providers.base import ProviderError
from routing.terminal import PlainCommand, PlainConsole
from routing.text.untrusted import as_body, as_text, escaped, one_line

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


OURS = {"marketing_platform", "messaging", "routing"}
SAID = "No route\x1b[2J \u202e[red]:smile:"


class Saying(PlainCommand):
    """Prints a text, and fails with it."""

    def handle(self, *args, **options):
        self.stdout.write(SAID)
        self.stdout.writelines([f"{SAID}\n"])
        self.stderr.write(SAID)


@pytest.mark.parametrize(
    "name", sorted(name for name, app in get_commands().items() if app in OURS)
)
def test_every_command_prints_plainly(name):
    command = load_command_class(get_commands()[name], name)

    of_django = f"django.core.management.commands.{name}"
    is_djangos = any(kind.__module__ == of_django for kind in type(command).__mro__)
    assert isinstance(command, PlainCommand) or is_djangos


def test_a_command_prints_what_others_said_and_obeys_nothing():
    out, errors = StringIO(), StringIO()
    for options in ({"stdout": out, "stderr": errors}, {}):
        Saying(stdout=out, stderr=errors).execute(
            no_color=False, force_color=False, skip_checks=True, **options
        )

    lines = out.getvalue().splitlines() + errors.getvalue().splitlines()
    assert lines == [r"No route\x1b[2J \u202e[red]:smile:"] * 6


def test_a_table_on_the_console_shows_it_by_the_letter():
    out = StringIO()
    console = PlainConsole(file=out, width=80)
    table = Table()
    table.add_column("said")
    table.add_row(SAID)

    console.print(SAID)
    console.print(table)

    assert out.getvalue().count(r"No route\x1b[2J \u202e[red]:smile:") == 2
