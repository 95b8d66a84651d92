"""Which addresses are one recipient: keys to compare them by. Pure.

A handset may have several numbers: its country has made numbers longer since, or mobile
numbers have an extra digit when dialled from abroad. Providers report a STOP under the
number that the network shows. And they spell recipients in their own ways: numbers
without "+", or as their network dials them; domains of other alphabets in ASCII.
Nothing is ever sent to a key, only to the recipient's own number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import normalize

from routing.text.email_addresses import is_same_mailbox, mailbox_key

# Another spelling, and the key. X is any digit and [..] one of several; the digits they
# match are copied in order.
_SPELLINGS = [
    # Mexico: no 1 after the country code since 2019; 01, 044 and 045 were dialled.
    ("+521XXXXXXXXXX", "+52XXXXXXXXXX"),
    ("+5201XXXXXXXXXX", "+52XXXXXXXXXX"),
    ("+52044XXXXXXXXXX", "+52XXXXXXXXXX"),
    ("+52045XXXXXXXXXX", "+52XXXXXXXXXX"),
    # Argentina: mobiles have a 9 from abroad, and a 15 after the area code at home.
    ("+54[1-3]XXXXXXXXX", "+549[1-3]XXXXXXXXX"),
    ("+541115XXXXXXXX", "+54911XXXXXXXX"),
    ("+5491115XXXXXXXX", "+54911XXXXXXXX"),
    ("+54[23]XX15XXXXXXX", "+549[23]XXXXXXXXX"),
    ("+54[23]XXX15XXXXXX", "+549[23]XXXXXXXXX"),
    # Brazil: a 9 before the eight digits of a mobile, from 2012 to 2016.
    ("+55[1-9]X[6-9]XXXXXXX", "+55[1-9]X9[6-9]XXXXXXX"),
    # Italy: the 0 of an area code is part of the number.
    *[(f"+39[124-9]{'X' * n}", f"+390[124-9]{'X' * n}") for n in range(5, 10)],
    # Benin, 2024.
    ("+229XXXXXXXX", "+22901XXXXXXXX"),
    ("+2291XXXXXXXX", "+22901XXXXXXXX"),
    # Ivory Coast, 2021: by network, which the second digit shows (Moov, MTN, Orange).
    ("+225[04-9][0-3]XXXXXX", "+22501[04-9][0-3]XXXXXX"),
    ("+225[04-9][4-6]XXXXXX", "+22505[04-9][4-6]XXXXXX"),
    ("+225[04-9][7-9]XXXXXX", "+22507[04-9][7-9]XXXXXX"),
    ("+2252X8XXXXX", "+225212X8XXXXX"),
    ("+225[23]X0XXXXX", "+22525[23]X0XXXXX"),
    ("+225[23]X[1-9]XXXXX", "+22527[23]X[1-9]XXXXX"),
    ("+225[157]XXXXXXXX", "+2250[157]XXXXXXXX"),
    # Gabon, 2019.
    ("+2410[256]XXXXXX", "+2416[256]XXXXXX"),
    ("+241[256]XXXXXX", "+2416[256]XXXXXX"),
    ("+2410[47]XXXXXX", "+2417[47]XXXXXX"),
    ("+241[47]XXXXXX", "+2417[47]XXXXXX"),
    ("+2410[67]XXXXXXX", "+241[67]XXXXXXX"),
    # Cameroon, 2014.
    ("+237[5-9]XXXXXXX", "+2376[5-9]XXXXXXX"),
    ("+237[23]XXXXXXX", "+2372[23]XXXXXXX"),
    # Congo: the 0 is part of the number.
    ("+242[14-6]XXXXXXX", "+2420[14-6]XXXXXXX"),
    # Palestine: also reached by Israel's code.
    ("+9725[69]XXXXXXX", "+9705[69]XXXXXXX"),
    # France overseas: ranges of the national plan with country codes of their own.
    ("+3369[01]XXXXXX", "+59069[01]XXXXXX"),
    ("+3369[23]XXXXXX", "+26269[23]XXXXXX"),
    ("+33639XXXXXX", "+262639XXXXXX"),
    ("+33694XXXXXX", "+594694XXXXXX"),
    ("+3369[67]XXXXXX", "+59669[67]XXXXXX"),
    # Vietnam, 2018: mobiles of eleven digits became shorter.
    ("+8416[2-9]XXXXXXX", "+843[2-9]XXXXXXX"),
    ("+84120XXXXXXX", "+8470XXXXXXX"),
    ("+84121XXXXXXX", "+8479XXXXXXX"),
    ("+84122XXXXXXX", "+8477XXXXXXX"),
    ("+8412[68]XXXXXXX", "+847[68]XXXXXXX"),
    ("+8412[345]XXXXXXX", "+848[345]XXXXXXX"),
    ("+84127XXXXXXX", "+8481XXXXXXX"),
    ("+84129XXXXXXX", "+8482XXXXXXX"),
    ("+84186XXXXXXX", "+8456XXXXXXX"),
    ("+84188XXXXXXX", "+8458XXXXXXX"),
    ("+84199XXXXXXX", "+8459XXXXXXX"),
]
_NO_DIGITS = re.compile(r"[^0-9]")
_OPEN = re.compile(r"X|\[[0-9-]{1,9}\]")


class _Form(NamedTuple):
    """A way to write numbers: a pattern that matches, and a template to write one."""

    pattern: re.Pattern[str]
    template: str

    @classmethod
    def of(cls, text: str) -> _Form:
        groups = iter(range(1, len(text)))
        return cls(
            re.compile(_OPEN.sub(_group, text.replace("+", r"\+"))),
            _OPEN.sub(lambda _: rf"\g<{next(groups)}>", text),
        )


def _group(match: re.Match[str]) -> str:
    return "([0-9])" if match[0] == "X" else f"({match[0]})"


_Pairs = dict[str, list[tuple[_Form, _Form]]]


def _by_beginning(pairs: list[tuple[str, str]]) -> _Pairs:
    """Compiled, by the first three characters, which match none of most numbers."""
    found: _Pairs = defaultdict(list)
    for one, other in pairs:
        found[one[:3]].append((_Form.of(one), _Form.of(other)))
    return dict(found)


_TO_KEY = _by_beginning(_SPELLINGS)
_FROM_KEY = _by_beginning([(key, other) for other, key in _SPELLINGS])


def handset_of(number: str) -> str:
    """The key of the handset of an E.164 number: the same for all its spellings."""
    return next(_rewritten(number, _TO_KEY), number)


def spellings_of(number: str) -> set[str]:
    """All known numbers of the same handset."""
    key = handset_of(number)
    others = {other for other in _rewritten(key, _FROM_KEY) if handset_of(other) == key}
    return {number, key} | others


def address_key(address: str) -> str:
    """The key that opt-outs are compared by: one per handset or mailbox."""
    return mailbox_key(address) if "@" in address else handset_of(address)


def address_spellings(address: str) -> set[str]:
    """All recipients under which messages to this handset or mailbox may be stored."""
    if "@" in address:
        return {address, mailbox_key(address)}
    return spellings_of(address)


def is_same_recipient(reported: str, sent_to: str) -> bool:
    """Whether both are the same recipient: the same handset, or the same mailbox."""
    if "@" in reported or "@" in sent_to:
        return is_same_mailbox(reported, sent_to)
    number = _number(reported)
    return number != "+" and handset_of(number) == handset_of(_number(sent_to))


def _number(text: str) -> str:
    digits = _NO_DIGITS.sub("", normalize("NFKC", text))
    return f"+{digits.removeprefix('00')}"


def _rewritten(number: str, pairs: _Pairs) -> Iterator[str]:
    for one, other in pairs.get(number[:3], ()):
        if match := one.pattern.fullmatch(number):
            yield match.expand(other.template)
