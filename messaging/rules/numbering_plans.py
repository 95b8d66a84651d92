"""The country of a handset's number in E.164 form, as most numbers of a list are.

routing.text.phone_numbers reads every notation and kind of number, but takes half the
time of loading a list. Here the same metadata becomes one pattern per country code and
length; numbers in other notations, or not surely a handset's, are left to that module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

# A national part that starts with 0 (Italy) has a flag of its own in the library.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NEVER = r"(?!)"


def country_of(text: str) -> str | None:
    """The country of a handset's number; None if it may be another kind, or no number.

    Only for numbers whose digits parsing would not change: they already are E.164.
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
    """A pattern for numbers of one length with this code; the group is the country.

    It matches nothing if the code belongs to no country.
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
        handset = f"(?P<{name}>{_handsets(metadata, length)})"
        if digits := metadata.leading_digits:  # only this country's numbers have them
            plan = f"(?={digits}){handset}|(?!{digits})(?:{plan})"
        else:
            other = f"(?!{_numbers(metadata, length)})"
            plan = f"{handset}|{other}(?:{plan})"
    # Forms that are dialled only within the country, which parsing would rewrite.
    prefix = regions[0][1].national_prefix_for_parsing
    return re.compile(f"(?!0|{prefix})(?:{plan})" if prefix else f"(?!0)(?:{plan})")


def _handsets(metadata: PhoneMetadata, length: int) -> str:
    """A pattern for the region's numbers of this length that may be a handset's.

    Numbers that match a special kind too are of that kind.
    """
    general = _pattern(metadata.general_desc, length)
    mobile = _pattern(metadata.mobile, length)
    if not general or not mobile:
        return _NEVER
    special = _any_of(_special_kinds(metadata), length)
    return rf"(?=(?:{general})\Z)(?!{special})(?:{mobile})"


def _numbers(metadata: PhoneMetadata, length: int) -> str:
    """A pattern for all of the region's numbers of this length."""
    general = _pattern(metadata.general_desc, length)
    kinds = [*_special_kinds(metadata), metadata.fixed_line, metadata.mobile]
    return rf"(?=(?:{general})\Z){_any_of(kinds, length)}" if general else _NEVER


def _special_kinds(metadata: PhoneMetadata) -> list[PhoneNumberDesc | None]:
    return [
        *(metadata.premium_rate, metadata.toll_free, metadata.shared_cost),
        *(metadata.voip, metadata.personal_number, metadata.pager),
        *(metadata.uan, metadata.voicemail),
    ]


def _any_of(kinds: Iterable[PhoneNumberDesc | None], length: int) -> str:
    patterns = filter(None, (_pattern(kind, length) for kind in kinds))
    return rf"(?:{'|'.join(patterns) or _NEVER})\Z"


def _pattern(kind: PhoneNumberDesc | None, length: int) -> str:
    """The pattern of a kind of numbers; "" if it has none of this length."""
    if kind is None or (kind.possible_length and length not in kind.possible_length):
        return ""
    return kind.national_number_pattern or ""
