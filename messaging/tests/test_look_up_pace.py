"""How many look-ups are made at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from messaging.rules.look_up_pace import FIRST, LONGEST_PAUSE, MOST, PAUSE, Pace

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def room(pace, *, under_way=0, is_in_use=True, now=NOW):
    return pace.room(under_way, is_in_use=is_in_use, now=now)


def test_each_round_of_answers_doubles_them_up_to_the_most():
    pace, rounds = Pace(), []
    for _ in range(5):
        rounds.append(room(pace))
        for _ in range(rounds[-1]):
            pace.note_answer()

    assert rounds == [FIRST, 2 * FIRST, 4 * FIRST, MOST, MOST]


def test_what_is_under_way_takes_its_place():
    assert room(Pace(), under_way=FIRST - 1) == 1
    assert room(Pace(), under_way=FIRST + 1) == 0


def test_those_that_are_refused_together_halve_it_once():
    pace = Pace()
    for _ in range(FIRST):
        pace.note_refusal(None, now=NOW)

    assert room(pace, now=NOW + PAUSE - SECOND) == 0
    assert room(pace, now=NOW + PAUSE) == FIRST // 2


def test_the_provider_says_how_long_to_wait_within_reason():
    pace = Pace()
    pace.note_refusal(timedelta(days=1), now=NOW)
    pace.note_refusal(SECOND, now=NOW)

    assert room(pace, now=NOW + LONGEST_PAUSE - SECOND) == 0
    assert room(pace, now=NOW + LONGEST_PAUSE) > 0


def test_one_is_always_left():
    pace, now = Pace(), NOW
    for _ in range(9):
        pace.note_refusal(None, now=now)
        now += PAUSE

    assert room(pace, now=now) == 1


def test_one_at_a_time_while_the_provider_is_out_of_use():
    assert room(Pace(), is_in_use=False) == 1
    assert room(Pace(), is_in_use=False, under_way=1) == 0
