"""What a text from a handset asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.text.keywords import (
    COURTESIES,
    LOCAL_STOP_WORDS,
    STOP_WORDS,
    WORDS,
    folded,
    keyword_of,
)
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
        "stop spam",
        "STOP SMS",
        "please stop sending me these messages",
        "Stop, merci",
        "stop s’il vous plaît",
        "Remove me!",
        "Don’t text me",
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
        "ok, the end",
        "please remove me from table 4",
        "bitte",
        "no more texts before nine",
    ],
)
def test_words_to_a_person_are_no_keyword(text):
    assert keyword_of(text) is None


@pytest.mark.parametrize(("text", "keyword"), [("Yes!", START), ("un-stop", START)])
def test_a_start_is_taken_by_the_letter(text, keyword):
    assert keyword_of(text) == keyword


def test_a_stop_in_another_language_is_read_from_anywhere(subtests):
    for language, words in STOP_WORDS.items():
        for word in words.split(", "):
            with subtests.test(language=language, word=word):
                assert keyword_of(f" {word.upper()}! 🙏", sender="+14155552671") == STOP


def test_a_word_of_one_country_counts_there_only(subtests):
    for beginning, words in LOCAL_STOP_WORDS.items():
        for word in words.split(", "):
            with subtests.test(beginning=beginning, word=word):
                assert keyword_of(word.title(), sender=f"{beginning}5551234567") == STOP
                assert keyword_of(word, sender="+447400123456") is None


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("ARRÊT", STOP),
        ("arret.", STOP),
        ("ar\u200bret", STOP),
        ("İPTAL", STOP),
        ("الغاء", STOP),
        ("停止。", STOP),
        ("ｽﾄｯﾌﾟ", STOP),
        ("ΣTOΠ", STOP),  # as in the SMS alphabet, with a Latin T and O
        ("ΔIAKOΠH", STOP),
        ("CTOП", STOP),
        ("listeden çıkar", STOP),
        ("zrusit", STOP),
        ("przestan", STOP),
        ("hủy đăng ký", STOP),
        ("huy dang ky", STOP),
        ("Toʻxtat", STOP),
        ("Bitte abmelden.", STOP),
        ("cancelar, por favor", STOP),
        ("пожалуйста, стоп", STOP),
        ("abmelden morgen bitte", None),
        ("bitte danke", None),
        ("please arrêt", None),
        ("arrêt de bus", None),
        ("zatrzymaj się", None),
        ("बाद", None),  # "later": a vowel sign away from "closed"
        ("cancelar mi cita de mañana", None),
        ("退订" * 60, None),
    ],
)
def test_a_foreign_stop_may_have_courtesies_around_it_and_nothing_else(text, keyword):
    assert keyword_of(text) == keyword


def test_an_installation_adds_words_of_its_own():
    more = ["Schluß jetzt", "x"]

    assert keyword_of("SCHLUSS JETZT!", more=more) == STOP
    assert keyword_of("Schluss", more=more) is None
    assert keyword_of("yes", more=["yes"]) == START


def test_no_stop_word_is_another_keyword():
    words = [*STOP_WORDS.values(), *LOCAL_STOP_WORDS.values()]

    assert not {folded(word) for text in words for word in text.split(",")} & {
        word for word, keyword in WORDS.items() if keyword != STOP
    }


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
