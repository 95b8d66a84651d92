"""Recipients' addresses in the one form that the rest of the house knows."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers

from messaging.handsets import handset_of, spellings_of
from messaging.numbering_plans import country_of
from routing.email_addresses import EmailAddressError, canonical_email, mailbox_key
from routing.providers.mail import is_address
from routing.vocabulary import Channel

_NO_PUNCTUATION = str.maketrans("", "", "-./()")


class AddressError(ValueError):
    """This is no address of the channel."""


class Address(NamedTuple):
    """An E.164 number with its country (ISO 3166), or an e-mail address."""

    text: str
    country: str = ""


def parse_address(channel: Channel, text: str, *, region: str = "") -> Address:
    """Normalise an address; `region` is where a national number is at home.

    An e-mail address takes its one form (`routing.email_addresses`). Its country is the
    region, if it is a code: lists have names of countries, too, which nothing depends
    on.
    """
    text, region = text.strip(), region.strip().upper()
    if not text:
        raise AddressError("the address is empty")
    if channel == Channel.EMAIL:
        return _email(text, region)
    return _number(text, region)


def address_key(address: str) -> str:
    """What opt-outs are compared by: one for all spellings of a handset or mailbox."""
    return mailbox_key(address) if "@" in address else handset_of(address)


def address_in(text: str) -> str:
    """The address that somebody typed, of whichever channel.

    For looking up and holding back, not for sending: a number may be one of a former
    numbering plan.
    """
    channel = Channel.EMAIL if {"@", "\uff20"} & {*text} else Channel.SMS
    try:
        return parse_address(channel, text).text
    except AddressError:
        if key := former_number(text):
            return key
        raise


def former_number(text: str) -> str:
    """The key of what was a number under a former plan; "" for all else."""
    written = "".join(text.split()).translate(_NO_PUNCTUATION)
    key = handset_of(written)
    if key == written:
        return ""
    try:
        return parse_address(Channel.SMS, key).text
    except AddressError:
        return ""


def address_spellings(address: str) -> set[str]:
    """What messages to the same handset or mailbox may have as their recipient."""
    if "@" in address:
        return {address, mailbox_key(address)}
    return spellings_of(address)


def check_region(region: str) -> None:
    """Refuse what is not the code of a country."""
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise AddressError(f"{region[:40]!r} is not a country code such as DE or US")


def _email(text: str, region: str) -> Address:
    try:
        address = canonical_email(text)
    except EmailAddressError as error:
        raise AddressError(f"{text[:40]!r} is not an e-mail address: {error}") from None
    if not is_address(address):
        raise AddressError(f"{text[:40]!r} is not an e-mail address")
    return Address(address, region if region in phonenumbers.SUPPORTED_REGIONS else "")


def _number(text: str, region: str) -> Address:
    if region:
        check_region(region)
    if clean := country_of(text):
        return Address(text, clean)
    number = _parsed(text, region)
    if number is None or not phonenumbers.is_valid_number(number):
        where = f" in {region}" if region else " with its +country code"
        raise AddressError(f"{text[:40]!r} is not a valid phone number{where}")
    country = phonenumbers.region_code_for_number(number)
    return Address(
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        # "001" is the whole world: freephone, satellites.
        country if country and country != "001" else "",
    )


def _parsed(text: str, region: str) -> phonenumbers.PhoneNumber | None:
    """The number, if the text is nothing else.

    The library would find one within words, turn letters into digits, and cut off an
    extension: good guesses for a dialler, bad ones for a mailing.
    """
    if any(map(str.isalpha, text)):
        return None
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    return None if number.extension else number
