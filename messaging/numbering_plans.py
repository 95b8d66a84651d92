"""The country of a number that is written as E.164 already, as most of a list are.

phonenumbers reads any way to write a number, and matches it against each kind of number
that a country has, at a cost of half of loading a list. Here its own metadata becomes
one expression per country and length, and what is not plain is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
            return _plan(code, len(national)).country_of(national)
    return None


@dataclass(frozen=True, slots=True)
class _Region:
    """A country's part of the numbers of one length that begin with its code."""

    name: str
    claims: re.Pattern[str]  # the beginning of a number that is no other country's
    numbers: re.Pattern[str]  # all there can be


@dataclass(frozen=True, slots=True)
class _Plan:
    """The numbers of one length that begin with one country code."""

    may_be_rewritten: re.Pattern[str]  # what might be dialled within the country only
    regions: Sequence[_Region]  # that share the code, the main one first

    def country_of(self, national: str) -> str | None:
        if self.may_be_rewritten.match(national):
            return None
        for region in self.regions:
            if region.claims.match(national):
                return region.name if region.numbers.fullmatch(national) else None
        return None


@cache
def _plan(code: int, length: int) -> _Plan:
    """Without regions if the code is the whole world's."""
    found = [
        (name, PhoneMetadata.metadata_for_region(name, None))
        for name in COUNTRY_CODE_TO_REGION_CODE[code]
    ]
    regions = [(name, metadata) for name, metadata in found if metadata]
    prefix = regions[0][1].national_prefix_for_parsing if regions else None
    return _Plan(
        may_be_rewritten=re.compile(f"0|{prefix}" if prefix else "0"),
        regions=tuple(
            _region(name, metadata, length, is_alone=len(regions) == 1)
            for name, metadata in regions
        ),
    )


def _region(
    name: str, metadata: PhoneMetadata, length: int, *, is_alone: bool
) -> _Region:
    numbers = _numbers(metadata, length)
    claims = metadata.leading_digits or rf"(?:{numbers})\Z"
    return _Region(name, re.compile("" if is_alone else claims), re.compile(numbers))


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
