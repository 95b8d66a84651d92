"""Removes addresses and credentials from text. Pure, and linear in the text's length.

Numbers keep their first two and last three digits (`+44*******456`) and e-mail
addresses their domain, so that operators can still distinguish cases.

Treated as a phone number: with `+` or `00`; with a leading 0, from nine digits on; in
groups; with ten digits as in North America or India, or 11 to 15; or any six digits
after a name such as `to=` or `"phone":`. Dates, times, IP addresses, UUIDs, amounts and
seconds or milliseconds since 1970 stay, and so do bare numbers of up to nine digits,
because ids and error codes look the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_AUTHORIZATION = re.compile(
    r"\b(Bearer|Basic)(?:\s|%20){1,9}+[^\s\"',;]++", re.IGNORECASE
)
_API_TOKEN = re.compile(r"\bmp_live_[\w-]++")

# An at sign: plain, full-width, in a URL (even escaped twice), in JSON, in HTML.
_AT = re.compile(
    r"@|\uff20|\ufe6b|%(?:25){0,2}40|\\u0040|\\x40|&#64;|&#x40;", re.IGNORECASE
)
# Read backwards, because it ends at the at sign.
_LOCAL_PART_REVERSED = re.compile(r"[^\s<>\"(),:;\\\[\]]*+")
_QUOTED_LIMIT = 66  # characters: 64 and the quotation marks
_PARAMETER = re.compile(r"(?:^|[?&])[\w.-]++=")
_END_OF_PATH = re.compile(r"[/?=&']")

_SPACE = (
    r"(?:[ \t.()/+\xa0\xad\xb7\u2007\u2009-\u2015\u202f\u2060\u2212\ufeff-]"
    r"|%(?:2[089DEF]|C2|A0|E2|80|9[0-5]))"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_TOKEN = re.compile(
    rf"""
    (?P<other>
        [0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}            # UUID
      | (?:19|20)\d\d[-/.][01]\d[-/.][0-3]\d(?!\d)                     # date ...
        (?:[T ]\d\d:\d\d(?::\d\d)?)?                                   # ... and time
      | \d\d:\d\d:\d\d(?!\d)
      | [0-3]?\d[-/.][01]?\d[-/.](?:19|20)\d\d(?!\d)
      | {_OCTET}(?:\.{_OCTET}){{3}}(?![.\d])                           # IPv4
      | (?!0[1-9])\d++\.\d++(?![.\d]|[ -]\d\d\d)                       # amount
      | \d++[a-z_]\w*+ | [a-z_]\w*+                                    # word, hex id
      | \\(?:[nrtbf]|u[0-9a-f]{{4}}|x[0-9a-f]{{2}})                    # of a literal
    )
  | (?P<plus>(?:\+|\uff0b|%(?:25)?2B|&\#43;|\\u002b){_SPACE}{{0,3}}+)?
    (?P<number>\d(?:{_SPACE}{{0,4}}+\d)*+)
  | %[0-9a-f]{{2}}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_GROUP = re.compile(r"(?<!%)(?<!%[0-9A-Fa-f])\d++")
_NAME_OF_NUMBER = re.compile(
    r"(?<![a-z])(?:to|from|tel|(?:tele)?phone|mobile|cell|msisdn|recipient|sender|handset"
    r"|destination|contact|whatsapp)(?:_?number)?s?(?:\\?[\"']){0,2}\s?"
    r"(?:=>?|:|%3D|%3A)\s?(?:\\?[\"'([]){0,3}\Z",
    re.IGNORECASE,
)
_NAME_LIMIT = 32  # characters
_FEWEST_DIGITS, _MOST_DIGITS = 6, 15  # E.164
_WITH_EXIT_CODE = 17  # 00 and E.164
_TRUNK = re.compile("00?[1-9]")
_TEN_DIGITS = re.compile("[2-9][0-9]{9}")
_INSTANT = re.compile(r"1\d{12}|(?:19|20)\d\d[01]\d[0-3]\d{7}")  # ms, or YYYYMMDDHHMMSS


def mask(text: str, *, secrets: Iterable[str] = ()) -> str:
    """The text without addresses, credentials and the given secrets."""
    if known := tuple(filter(None, secrets)):
        text = _any_of(known).sub("***", text)
    text = _AUTHORIZATION.sub(r"\1 ***", text)
    text = _API_TOKEN.sub("***", text)
    return _TOKEN.sub(_masked_token, _masked_emails(text))


@lru_cache(maxsize=8)
def _any_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """All secrets in one pass, the longest first, so that no remainder is left."""
    by_length = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, by_length)))


def _masked_emails(text: str) -> str:
    """Mask the local part before each at sign, back to where it may begin."""
    *before, rest = _AT.split(text)
    return "@".join([*map(_without_local_part, before), rest])


def _without_local_part(text: str) -> str:
    if text.endswith('"'):
        opening = text.rfind('"', max(0, len(text) - _QUOTED_LIMIT), len(text) - 1)
        return f"{text[:opening]}***" if opening >= 0 else text
    run = _LOCAL_PART_REVERSED.match(text[::-1])
    length = run.end() if run else 0
    if not length:
        return text
    kept = _frame_of(text[len(text) - length :])
    return f"{text[: len(text) - length]}{kept}***"


def _frame_of(run: str) -> str:
    """The text that is certainly not the local part: a path, `name=`, a quote."""
    pattern = _END_OF_PATH if run.startswith("/") else _PARAMETER
    end = max((match.end() for match in pattern.finditer(run)), default=0)
    end += run.startswith("'", end)
    return run[:end] if end < len(run) else ""


def _masked_token(match: re.Match[str]) -> str:
    """A run of digits and separators: one number, several or none."""
    run, plus = match["number"], match["plus"]
    if run is None:
        return match[0]
    before = match.string[max(0, match.start() - _NAME_LIMIT) : match.start()]
    groups = list(_GROUP.finditer(run))
    length = _marked_length(groups, bool(plus or _NAME_OF_NUMBER.search(before)))
    written, end, index = [] if length else [plus or ""], 0, 0
    while index < len(groups):
        length = length or _number_length(run, groups[index : index + _MOST_DIGITS])
        if length:
            first, last = groups[index], groups[index + length - 1]
            digits = "".join(group[0] for group in groups[index : index + length])
            written += [run[end : first.start()], _starred(digits, bool(plus))]
            end = last.end()
        index, length, plus = index + (length or 1), 0, None
    return "".join([*written, run[end:]])


def _marked_length(groups: list[re.Match[str]], is_marked: bool) -> int:
    """How many groups belong to the number after a plus or a name; 0: no number."""
    if not is_marked:
        return 0
    length, digits = 1, len(groups[0][0])
    for group in groups[1:_MOST_DIGITS]:
        digits += len(group[0])
        if digits > _MOST_DIGITS:
            break
        length += 1
    total = sum(len(group[0]) for group in groups[:length])
    return length if total >= _FEWEST_DIGITS else 0


def _number_length(run: str, groups: list[re.Match[str]]) -> int:
    """The largest number of groups, from the first, that are an unmarked number."""
    for length in range(_group_limit(groups), 0, -1):
        texts = [group[0] for group in groups[:length]]
        between = run[groups[0].end() : groups[length - 1].start()]
        if _is_number(texts, between):
            return length
    return 0


def _group_limit(groups: list[re.Match[str]]) -> int:
    """People write groups of two digits and more; this limits what is tried."""
    length, digits = 1, len(groups[0][0])
    for group in groups[1:]:
        digits += len(group[0])
        if len(group[0]) < 2 or digits > _WITH_EXIT_CODE:
            break
        length += 1
    return length


def _is_number(groups: list[str], between: str) -> bool:
    groups = [*map(_in_ascii, groups)]
    digits = "".join(groups)
    if _TRUNK.match(groups[0]):
        return 9 <= len(digits) <= _WITH_EXIT_CODE
    if len(groups) == 1:
        is_long = 11 <= len(digits) <= _MOST_DIGITS and not _INSTANT.fullmatch(digits)
        return is_long or bool(_TEN_DIGITS.fullmatch(digits))
    if "/" in between or len(digits) > _MOST_DIGITS:
        return False
    if len(groups) == 2:
        is_halves = len(digits) == 10 and min(map(len, groups)) > 3
        return is_halves or not {"(", ")"}.isdisjoint(between)
    return len(digits) >= 8 and max(map(len, groups)) < 6


def _in_ascii(digits: str) -> str:
    """Digits of any script, such as full-width or Arabic, as ASCII digits."""
    return digits if digits.isascii() else "".join(str(int(each)) for each in digits)


def _starred(digits: str, has_plus: bool) -> str:
    digits = _in_ascii(digits)
    if digits.startswith("00"):
        digits, has_plus = digits[2:], True
    is_international = has_plus or (digits[0] != "0" and len(digits) > 10)
    plus = "+" if is_international else ""
    return f"{plus}{digits[:2]}{'*' * (len(digits) - 5)}{digits[-3:]}"
