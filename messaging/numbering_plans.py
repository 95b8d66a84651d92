"""The country of a number that is written as E.164 already, as most of a list are.

phonenumbers reads any way to write a number, and matches it against each kind of number
that a country has, at a cost of half of loading a list. Here its own metadata becomes
one expression per country code and length, and what is not plain is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

# A national part that starts with 0 (Italy) has a mark of its own in the library.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NEVER = r"(?!)"


def country_of(text: str) -> str | None:
    """The country of a valid number; None: ask phonenumbers, it may be valid or not.

    Only where reading it changes none of its digits, so that it is E.164 as it stands.
    """
    if not _E164.fullmatch(text):
        return None
    for size in (1, 2, 3):
        code = int(text[1 : size + 1])
        if code in COUNTRY_CODE_TO_REGION_CODE:
            national = text[size + 1 :]
            found = _plan(code, len(national)).fullmatch(national)
            return found.lastgroup if found else None
    return None


@cache
def _plan(code: int, length: int) -> re.Pattern[str]:
    """All numbers of one length that begin with this code; the group is the country.

    None if the code is the whole world's.
    """
    found = [
        (name, PhoneMetadata.metadata_for_region(name, None))
        for name in COUNTRY_CODE_TO_REGION_CODE[code]
    ]
    regions = [(name, metadata) for name, metadata in found if metadata]
    if not regions:
        return re.compile(_NEVER)
    plan = _NEVER
    for name, metadata in reversed(regions):  # the main one comes first
        region = f"(?P<{name}>{_numbers(metadata, length)})"
        if digits := metadata.leading_digits:  # a beginning that is no other country's
            plan = f"(?={digits}){region}|(?!{digits})(?:{plan})"
        else:
            plan = f"{region}|{plan}"
    # What might be dialled within the country only, and be rewritten.
    prefix = regions[0][1].national_prefix_for_parsing
    return re.compile(f"(?!0|{prefix})(?:{plan})" if prefix else f"(?!0)(?:{plan})")


def _numbers(metadata: PhoneMetadata, length: int) -> str:
    """A pattern for all numbers of the region that have this length."""
    general = _pattern(metadata.general_desc, length)
    kinds = [f"(?:{pattern})" for pattern in _kinds(metadata, length)]
    if not general or not kinds:
        return _NEVER
    return rf"(?=(?:{general})\Z)(?:{'|'.join(kinds)})"


def _kinds(metadata: PhoneMetadata, length: int) -> Iterator[str]:
    kinds = [
        *(metadata.fixed_line, metadata.premium_rate, metadata.toll_free),
        *(metadata.shared_cost, metadata.voip, metadata.personal_number),
        *(metadata.pager, metadata.uan, metadata.voicemail),
    ]
    if not metadata.same_mobile_and_fixed_line_pattern:
        kinds.append(metadata.mobile)
    for kind in kinds:
        if pattern := _pattern(kind, length):
            yield pattern


def _pattern(kind: PhoneNumberDesc | None, length: int) -> str:
    """The pattern of a kind of numbers; none if it has none of this length."""
    if kind is None or (kind.possible_length and length not in kind.possible_length):
        return ""
    return kind.national_number_pattern or ""
