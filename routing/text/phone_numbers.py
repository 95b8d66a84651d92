"""Phone numbers as people and programs write them. Pure.

phonenumbers is made for diallers, and guesses: it drops a zero that it considers a
trunk prefix, adds a country code, finds a number within words. A mailing must not
guess, or it reaches the wrong person. So a number with a "+" is taken exactly as
written, or refused. One without is read in every way its country allows, and refused
unless exactly one is valid.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType


class NotANumber(ValueError):
    """Not a phone number, or more than one; the text says what to write."""


class NoCountry(NotANumber):
    """Digits without a "+", which need a country to be a number."""


class NumberKind(StrEnum):
    """The kind of a number, in words that follow "it is a"."""

    HANDSET = "mobile number"  # or possibly one: North American plans do not tell
    LANDLINE = "landline"
    INTERNET = "VoIP (internet telephony) number"
    FREEPHONE = "freephone number"
    PREMIUM = "premium-rate number"
    SHARED_COST = "shared-cost number"
    PERSONAL = "personal number, which forwards at a price"
    PAGER = "pager"
    COMPANY = "company-wide number"
    VOICEMAIL = "voicemail number"
    WORLDWIDE = "satellite or other number that belongs to no country"


# Text messages reach these in some countries and at some providers.
_LINES = {NumberKind.LANDLINE, NumberKind.INTERNET, NumberKind.FREEPHONE}
# Twilio's test numbers; by their numbering plan they would be personal numbers.
_TEST_NUMBERS = "+1500555"
_COSTLY = {NumberKind.PREMIUM, NumberKind.SHARED_COST}
_KINDS = {
    PhoneNumberType.MOBILE: NumberKind.HANDSET,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.HANDSET,
    PhoneNumberType.FIXED_LINE: NumberKind.LANDLINE,
    PhoneNumberType.VOIP: NumberKind.INTERNET,
    PhoneNumberType.TOLL_FREE: NumberKind.FREEPHONE,
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
    PhoneNumberType.PERSONAL_NUMBER: NumberKind.PERSONAL,
    PhoneNumberType.PAGER: NumberKind.PAGER,
    PhoneNumberType.UAN: NumberKind.COMPANY,
    PhoneNumberType.VOICEMAIL: NumberKind.VOICEMAIL,
}


class PhoneNumber(NamedTuple):
    """A valid number in E.164."""

    text: str
    country: str  # ISO 3166; empty if it belongs to no country
    kind: NumberKind


def read_number(text: str, region: str = "") -> PhoneNumber:
    """The number that the text is; `region` is the country of a national number.

    Raises NotANumber if it is none, or may be several; NoCountry if it might be a
    national number and there is no such region. No digit of a number with a "+" is
    dropped, added or moved, except a zero in brackets: the brackets in +49 (0)170 mean
    that it is not dialled from abroad.
    """
    written = _without_separators(text)
    if written.startswith("+"):
        return _as_written(written, text)
    home = PhoneMetadata.metadata_for_region(region, None)
    if home is None:
        raise NoCountry(f"{text[:40]!r} is not a valid phone number{_NO_CODE}")
    readings = list(_readings(written, home))
    if len(readings) == 1:
        return readings[0]
    if readings:
        raise NotANumber(
            f"{text[:40]!r} may be {' or '.join(each.text for each in readings)}: "
            "write the right one, with its +"
        )
    raise NotANumber(f"{text[:40]!r} is not a valid phone number in {region}")


def problem_with_kind(kind: NumberKind, *, takes_landlines: bool) -> str:
    """Why no message may go to such a number; empty if it may."""
    if kind == NumberKind.HANDSET:
        return ""
    if kind not in _LINES:
        return f"it is a {kind}; no messages are sent to those"
    if takes_landlines:
        return ""
    return f"it is a {kind}; set SEND_TO_LANDLINES=1 to send to those"


# --- As written -----------------------------------------------------------------------

_SEPARATORS = re.compile(r"[\s.()\[\]/~\u00b7\u2022\u2053\u2212\u223c\u30fc]")
_TRUNK_ZERO = re.compile(r"(?<=\d)\s*[(\[]\s*0\s*[)\]]")
_CODE = re.compile(r"(?:\+|00)?([1-9][0-9]{0,2})")
_DECIMAL = re.compile(r"(?<!\d)\+?\d{5,}+[.,]\d{1,2}")
_SCIENTIFIC = re.compile(r"(?<!\d)\+?\d([.,]\d*+)?e\+?\d++", re.IGNORECASE)
_WRITTEN = re.compile(r"\+?[0-9]+")
_SHORTEST_PART = 4  # digits, after a slash
_NO_CODE = " with its +country code"
_LONGEST = 80  # characters, including separators
_PLUSES = str.maketrans({"\uff0b": "+", "\ufe62": "+"})


def _without_separators(text: str) -> str:
    """The digits, after a "+" if there is one."""
    plain = _plain(text[: _LONGEST + 1])
    written = _SEPARATORS.sub("", _without_trunk_zero(plain))
    is_number = _WRITTEN.fullmatch(written) and len(text) <= _LONGEST
    is_spoilt = _DECIMAL.fullmatch(plain) or len(plain.splitlines()) > 1
    if not is_number or is_spoilt or _has_alternative(plain):
        raise NotANumber(f"{text[:40]!r} is not a valid phone number{_why(plain)}")
    return written


def _has_alternative(plain: str) -> bool:
    """Whether it ends with the last digits of another number: 0151 1234567/8."""
    _, slash, rest = plain.rpartition("/")
    return bool(slash) and sum(map(str.isdecimal, rest)) < _SHORTEST_PART


def _why(plain: str) -> str:
    if _DECIMAL.fullmatch(plain) or _SCIENTIFIC.fullmatch(plain):
        return ": a spreadsheet changed it to an amount; format its column as text"
    if any(character.isdecimal() for character in plain):
        return ": it must be one number without letters or an extension"
    return _NO_CODE


def _plain(text: str) -> str:
    """With digits of all scripts as 0-9, dashes as separators, nothing invisible."""
    text = text.strip().removeprefix("'").translate(_PLUSES)  # ' from a spreadsheet
    return "".join(map(_plain_character, text)).strip()


def _plain_character(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category == "Pd" else character


def _without_trunk_zero(plain: str) -> str:
    """Without the (0) of +49 (0)170, if the country's trunk prefix is a zero.

    Before it must be a country code, with + or 00 or neither: the 040 of 040 (0) is
    not Romania's.
    """
    zero = _TRUNK_ZERO.search(plain)
    before = _CODE.fullmatch(_SEPARATORS.sub("", plain[: zero.start()] if zero else ""))
    if not zero or not before:
        return plain
    region = phonenumbers.region_code_for_country_code(int(before[1]))
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None or metadata.national_prefix != "0":
        return plain
    return f"+{before[1]} {plain[zero.end() :]}"


# --- Possible readings ----------------------------------------------------------------


def _as_written(e164: str, text: str) -> PhoneNumber:
    if number := _valid(e164):
        return number
    raise NotANumber(f"{text[:40]!r} is not a valid phone number{_suggestion(e164)}")


def _suggestion(e164: str) -> str:
    """The number it was probably meant to be: +49 0170 has one zero too many."""
    try:
        guess = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return _NO_CODE
    if not phonenumbers.is_valid_number(guess):
        return _NO_CODE
    return f"; if you mean {_e164(guess)}, write that"


def _valid(e164: str) -> PhoneNumber | None:
    """The number, if it is valid with exactly these digits."""
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
    if _e164(number) != e164:
        return None
    kind = _KINDS.get(phonenumbers.number_type(number))
    if kind is None:  # phonenumbers' own `is_valid_number` checks no more than this
        return None
    if e164.startswith(_TEST_NUMBERS):
        kind = NumberKind.HANDSET
    country = phonenumbers.region_code_for_number(number) or ""
    if country != "001":
        return PhoneNumber(e164, country, kind)
    return PhoneNumber(e164, "", kind if kind in _COSTLY else NumberKind.WORLDWIDE)


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _readings(digits: str, metadata: PhoneMetadata) -> Iterator[PhoneNumber]:
    """All numbers that these digits may mean in this country."""
    code = str(metadata.country_code)
    candidates = [
        f"+{code}{part}"
        for part in _national_parts(digits, metadata)
        if _looks_national(part, metadata)
    ]
    candidates += (f"+{rest}" for rest in _from_abroad(digits, metadata))
    if digits.startswith(code):
        candidates.append(f"+{digits}")
    readings = [
        number for each in dict.fromkeys(candidates) if (number := _valid(each))
    ]
    yield from readings
    yield from _dialled_elsewhere(digits, readings)
    # A German landline without its 0 may be a foreign handset without its +.
    if [each.text for each in readings] == [f"+{code}{digits}"]:
        yield from _foreign(digits, readings[0], metadata)


def _looks_national(part: str, metadata: PhoneMetadata) -> bool:
    """Whether it can be one at all: parsing it fully costs ten times as much."""
    main = phonenumbers.region_code_for_country_code(metadata.country_code or 0)
    plans = metadata, PhoneMetadata.metadata_for_region(main, None) or metadata
    return any(
        plan.general_desc
        and re.fullmatch(plan.general_desc.national_number_pattern or "", part)
        for plan in plans
    )


def _national_parts(digits: str, metadata: PhoneMetadata) -> Iterator[str]:
    """The national number as written, and without the prefix dialled before it."""
    yield digits
    prefix = metadata.national_prefix_for_parsing
    found = re.match(prefix, digits) if prefix else None
    if not found:
        return
    rule = metadata.national_prefix_transform_rule
    if rule and found.lastindex and found[found.lastindex] is not None:
        yield found.expand(re.sub(r"\$(\d)", r"\\\1", rule)) + digits[found.end() :]
    else:
        yield digits[found.end() :]


def _from_abroad(digits: str, metadata: PhoneMetadata) -> Iterator[str]:
    """The digits after the country's prefix for calls abroad, such as 00 or 011."""
    prefix = re.compile(metadata.international_prefix or "(?!)")
    for end in range(2, 9):
        if prefix.fullmatch(digits, 0, end):
            yield digits[end:]


def _dialled_elsewhere(
    digits: str, readings: list[PhoneNumber]
) -> Iterator[PhoneNumber]:
    """The number after 00, where 00 is part of a longer prefix: Colombia's 009."""
    if readings and digits.startswith("00"):
        other = _valid(f"+{digits[2:]}")
        if other and other not in readings:
            yield other


def _foreign(
    digits: str, national: PhoneNumber, metadata: PhoneMetadata
) -> Iterator[PhoneNumber]:
    """The digits with a "+", unless it is usual to write the national number so."""
    if national.kind == NumberKind.HANDSET or not metadata.national_prefix:
        return
    if (foreign := _valid(f"+{digits}")) and _usual(national) != digits:
        yield foreign


def _usual(number: PhoneNumber) -> str:
    """The digits as usually written in its country."""
    at_home = phonenumbers.format_number(
        phonenumbers.parse(number.text), phonenumbers.PhoneNumberFormat.NATIONAL
    )
    return re.sub(r"\D", "", at_home)
