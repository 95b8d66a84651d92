"""STOP, START and HELP: what the text of a handset asks for.

Pure. Who misses a STOP goes on sending to somebody who said no, so it is read with
tolerance; a START gives consent, so it is taken only by the letter.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from routing.vocabulary import Keyword

# 47 CFR 64.1200(a)(10) names stop, quit, end, revoke, opt out, cancel and unsubscribe;
# stopall, start, unstop, yes, help and info are the carriers' (CTIA) and Twilio's.
WORDS = {
    **dict.fromkeys(
        (
            "stop",
            "stopall",
            "unsubscribe",
            "cancel",
            "end",
            "quit",
            "revoke",
            "optout",
        ),
        Keyword.STOP,
    ),
    **dict.fromkeys(("start", "unstop", "yes"), Keyword.START),
    **dict.fromkeys(("help", "info"), Keyword.HELP),
}
# What people put around a STOP without meaning anything else.
COURTESIES = frozenset(
    [
        "please",
        "pls",
        "plz",
        "thanks",
        "thank",
        "you",
        "now",
        "all",
        "me",
        "it",
        "sending",
        "texting",
        "texts",
        "messages",
    ]
)
_WORD = re.compile(r"[^\W_]+")


def keyword_of(text: str) -> Keyword | None:
    """The keyword that the whole message is; None for all that people write else.

    Case, spaces and punctuation do not count: "Opt-Out!" is "optout". A STOP may have
    courtesies around it ("please stop texting me"), but no other words: "stop by at
    noon" is a message to a person.
    """
    words = _WORD.findall(normalize("NFKC", text).casefold())
    keyword = WORDS.get("".join(words))
    if keyword is not None:
        return keyword
    meant = [word for word in words if word not in COURTESIES]
    is_stop = _is_stop("".join(meant)) or (meant and all(map(_is_stop, meant)))
    return Keyword.STOP if is_stop else None


def _is_stop(word: str) -> bool:
    return WORDS.get(word) == Keyword.STOP
