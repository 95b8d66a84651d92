"""The judge of the fault tests, and the table of their measurements."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pkgutil import resolve_name

import pytest
from django.conf import settings

from marketing_platform.testing.faults.evidence import BEGIN, END, Evidence, table
from marketing_platform.testing.faults.evidence import main as write_table
from marketing_platform.testing.faults.fault_injection import POINTS
from marketing_platform.testing.faults.verdict import Recorded, judge
from routing.vocabulary import MessageStatus

ADA, BOB = "+14155550001", "+14155550002"
SENT = Recorded(MessageStatus.SENT, is_flagged=False, was_unknown=False)
QUEUED = Recorded(MessageStatus.QUEUED, is_flagged=False, was_unknown=False)
FAILED = Recorded(MessageStatus.FAILED, is_flagged=False, was_unknown=False)
FLAGGED = Recorded(MessageStatus.FAILED, is_flagged=True, was_unknown=True)
RECOVERED = Recorded(MessageStatus.DELIVERED, is_flagged=False, was_unknown=True)


def verdict(recorded, accepted=(), *, calls=0, attempts=0):
    return judge([ADA], recorded, Counter(accepted), calls=calls, attempts=attempts)


def test_a_message_that_was_sent_once_is_as_it_should_be():
    assert verdict({ADA: SENT}, [ADA], calls=1, attempts=1).is_clean


@pytest.mark.parametrize(
    ("recorded", "accepted", "found"),
    [
        ({}, [], "lost"),
        ({ADA: QUEUED}, [], "lost"),
        ({ADA: SENT}, [], "lost"),
        ({ADA: SENT}, [ADA, ADA], "doubled"),
        ({ADA: FAILED}, [ADA], "silent"),
        ({ADA: SENT}, [ADA, BOB], "silent"),
    ],
)
def test_whatever_is_wrong_is_found(recorded, accepted, found):
    judged = verdict(recorded, accepted)

    assert getattr(judged, found) == 1
    assert not judged.is_clean


def test_a_call_without_an_attempt_is_found():
    judged = verdict({ADA: SENT}, [ADA], calls=2, attempts=1)

    assert judged.unrecorded == 1
    assert not judged.is_clean


def test_what_is_marked_as_unknown_is_neither_lost_nor_silent():
    assert verdict({ADA: FLAGGED}).is_clean
    assert verdict({ADA: FLAGGED}, [ADA]).flagged == 1
    assert verdict({ADA: RECOVERED}, [ADA]).recovered == 1


def test_verdicts_add_up():
    both = verdict({ADA: SENT}, [ADA]) + verdict({ADA: FLAGGED})

    assert (both.messages, both.accepted, both.flagged) == (2, 1, 1)


@pytest.mark.parametrize("name", POINTS)
def test_a_crash_point_is_a_function_of_the_engine(name):
    assert callable(resolve_name(POINTS[name].function)), (
        "The function was renamed: name it anew in POINTS of fault_injection.py."
    )


def evidence(row, database, lost):
    figures = {"lost": lost, "kills": 3}
    return json.dumps(
        asdict(Evidence(row, f"test_{row}", "kill", "all is well", database, figures))
    )


def test_the_table_has_a_row_per_fault_with_the_last_figures_of_each_database():
    measured = table(
        [
            evidence("10", "sqlite", 0),
            evidence("1-4", "sqlite", 0),
            evidence("2", "sqlite", 7),
            evidence("2", "sqlite", 0),
            evidence("2", "postgresql", 0),
        ]
    ).splitlines()

    assert measured[-3:] == [
        "| 1-4 | kill | all is well | lost 0, kills 3 | – | `test_1-4` |",
        "| 2 | kill | all is well | lost 0, kills 3 | lost 0, kills 3 | `test_2` |",
        "| 10 | kill | all is well | lost 0, kills 3 | – | `test_10` |",
    ]


def test_the_table_takes_the_place_of_the_last_one(tmp_path):
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write_table(document, [])

    assert document.read_text() == (
        f"before\n{BEGIN}\nNothing was measured.\n{END}\nafter\n"
    )


def test_the_document_has_a_place_for_the_table():
    document = (settings.BASE_DIR / "docs" / "reliability.md").read_text()

    assert document.index(BEGIN) < document.index(END)
