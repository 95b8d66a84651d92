"""The examples of docs/routing.md."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from routing.vocabulary import RoutingStrategy

PAGE = Path(__file__).parents[2] / "docs" / "routing.md"
FENCED = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(text):
    """The page with all but its examples blanked out, line by line."""
    lines = [""] * (text.count("\n") + 1)
    for block in FENCED.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), first):
            lines[number] = line
    return "\n".join(lines)


def test_every_example_gives_what_the_page_says():
    report = []
    page = examples(PAGE.read_text())
    test = doctest.DocTestParser().get_doctest(page, {}, PAGE.name, str(PAGE), 0)

    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)

    assert result.attempted > 40
    assert not result.failed, "Mend docs/routing.md or the code:\n" + "".join(report)


def test_every_strategy_has_its_section():
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE)

    names = [member.name.title().replace("_", "") for member in RoutingStrategy]
    assert headings == names
