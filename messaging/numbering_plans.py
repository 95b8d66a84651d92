"""The country of a number that is written as E.164 already, as most of a list are.

phonenumbers reads any way to write a number, and matches it against each kind of number
that a country has, at a cost of half of loading a list. Here its own metadata becomes
one expression per country and length, and what is not plain is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

# A national part that starts with 0 (Italy) has a mark of its own in the library.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NEVER = re.compile(r"(?!)")


def country_of(text: str) -> str | None:
    """The country of a valid number; None: ask phonenumbers, it may be valid or not.

    Only where reading it changes none of its digits, so that it is E.164 as it stands.
    """
    if not _E164.fullmatch(text):
        return None
    for size in (1, 2, 3):
        code = int(text[1 : size + 1])
        if code in COUNTRY_CODE_TO_REGION_CODE:
            return _country(code, text[size + 1 :])
    return None


def _country(code: int, national: str) -> str | None:
    regions = _regions(code)
    if national.startswith("0") or not regions or regions[0].may_rewrite(national):
        return None
    for region in regions:
        if len(regions) == 1 or region.claims(national):
            return region.name if region.has(national) else None
    return None


@dataclass(frozen=True, slots=True)
class _Region:
    """A country's part of its country code."""

    name: str
    metadata: PhoneMetadata

    def may_rewrite(self, national: str) -> bool:
        """Whether it starts with what might be dialled within the country only."""
        prefix = self.metadata.national_prefix_for_parsing
        return bool(prefix and re.match(prefix, national))

    def claims(self, national: str) -> bool:
        """Whether a number of a country code that several share is this one's."""
        if self.metadata.leading_digits is not None:
            return bool(re.match(self.metadata.leading_digits, national))
        return self.has(national)

    def has(self, national: str) -> bool:
        """Whether there can be such a number."""
        return bool(_numbers(self.name, len(national)).fullmatch(national))


@cache
def _regions(code: int) -> tuple[_Region, ...]:
    """Those that share the code, the main one first; none for the whole world."""
    found = [
        (name, PhoneMetadata.metadata_for_region(name, None))
        for name in COUNTRY_CODE_TO_REGION_CODE[code]
    ]
    return tuple(_Region(name, metadata) for name, metadata in found if metadata)


@cache
def _numbers(region: str, length: int) -> re.Pattern[str]:
    """All numbers of the region that have this length."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or not (general := _pattern(metadata.general_desc, length)):
        return _NEVER
    kinds = [f"(?:{pattern})" for pattern in _kinds(metadata, length)]
    return re.compile(rf"(?=(?:{general})\Z)(?:{'|'.join(kinds)})") if kinds else _NEVER


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
