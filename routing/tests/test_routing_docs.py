"""The examples in the documents."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from routing.vocabulary import RoutingStrategy

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "routing.md"
FENCED = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(text):
    """The page with all but its examples blanked out, line by line."""
    lines = [""] * (text.count("\n") + 1)
    for block in FENCED.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), first):
            lines[number] = line
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("routing.md", 40), ("MESSAGING_ENGINE_IMPLEMENTATION.md", 5)],
)
def test_every_example_gives_what_the_page_says(name, at_least):
    report = []
    page = examples((DOCS / name).read_text())
    test = doctest.DocTestParser().get_doctest(page, {}, name, name, 0)

    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)

    assert result.attempted > at_least
    assert not result.failed, f"Mend docs/{name} or the code:\n" + "".join(report)


def test_every_strategy_has_its_section():
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE)

    names = [member.name.title().replace("_", "") for member in RoutingStrategy]
    assert headings == names


def test_the_glossary_has_every_strategy_with_its_number():
    glossary = (DOCS / "glossary.md").read_text()

    for member in RoutingStrategy:
        assert f"{member.name.title().replace('_', '')} {member.value}" in glossary
