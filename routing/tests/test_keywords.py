"""What the text of a handset asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.keywords import COURTESIES, WORDS, keyword_of
from routing.vocabulary import Keyword

STOP, START, HELP = Keyword


@pytest.mark.parametrize(("word", "keyword"), WORDS.items())
def test_every_keyword_is_understood(word, keyword):
    assert keyword_of(word) == keyword


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        " Stop. ",
        "“stop”!",
        "Opt out",
        "OPT-OUT",
        "stop all",
        "S.T.O.P.",
        "st\u200bop",
        "ＳＴＯＰ",
        "STOP 🙏",
        "_stop_",
        "stop stop STOP",
        "Please stop texting me, thanks",
        "please opt out",
        "unsubscribe me now",
    ],
)
def test_a_stop_is_read_with_tolerance(text):
    assert keyword_of(text) == STOP


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "please",
        "Please stop by at noon",
        "The end",
        "Do not stop",
        "can I cancel my order?",
        "yes please",
        "start start",
        "help me stop",
        "stopover",
    ],
)
def test_words_to_a_person_are_no_keyword(text):
    assert keyword_of(text) is None


@pytest.mark.parametrize(("text", "keyword"), [("Yes!", START), ("un-stop", START)])
def test_a_start_is_taken_by_the_letter(text, keyword):
    assert keyword_of(text) == keyword


@given(st.text())
def test_any_text_can_be_read(text):
    assert keyword_of(text) in {None, STOP, START, HELP}


@given(
    st.sampled_from([word for word, keyword in WORDS.items() if keyword == STOP]),
    st.lists(st.sampled_from(sorted(COURTESIES))),
    st.lists(st.sampled_from(sorted(COURTESIES))),
    st.text(" .,!\n", min_size=1),
)
def test_courtesies_around_a_stop_do_not_hide_it(word, before, after, between):
    assert keyword_of(between.join([*before, word.upper(), *after])) == STOP
