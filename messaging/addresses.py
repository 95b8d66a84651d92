"""Recipients' addresses in the one form that the rest of the house knows."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
from django.conf import settings

from messaging.rules.numbering_plans import country_of
from routing.providers.transport.mail import is_address
from routing.text.email_addresses import EmailAddressError, canonical_email, mailbox_key
from routing.text.handsets import handset_of, spellings_of
from routing.text.phone_numbers import (
    NoCountry,
    NotANumber,
    NumberKind,
    problem_with_kind,
    read_number,
)
from routing.vocabulary import Channel

_NO_PUNCTUATION = str.maketrans("", "", "-./()")


class AddressError(ValueError):
    """This is no address of the channel."""

    def told(self, *, country_in: str) -> str:
        """Its text, for people who may name the country of a number, and where."""
        return str(self)


class CountryMissing(AddressError):
    """It may be a national number of a country that nobody has named."""

    def told(self, *, country_in: str) -> str:
        """With what would help."""
        return f"{self}; a national one needs its country, {country_in}"


class Address(NamedTuple):
    """An E.164 number with its country (ISO 3166), or an e-mail address."""

    text: str
    country: str = ""
    kind: NumberKind = NumberKind.HANDSET  # what answers at the number


def parse_recipient(channel: Channel, text: str, *, region: str = "") -> Address:
    """Normalise an address that messages may go to.

    A number that no handset has is refused: at best the message is paid for and lost,
    at worst a premium-rate number is somebody's way to be paid.
    """
    address = parse_address(channel, text, region=region)
    if address.kind != NumberKind.HANDSET:
        _check_kind(address)
    return address


def _check_kind(address: Address) -> None:
    landlines = settings.SEND_TO_LANDLINES
    if problem := problem_with_kind(address.kind, takes_landlines=landlines):
        raise AddressError(f"no message goes to {address.text}: {problem}")


def parse_address(channel: Channel, text: str, *, region: str = "") -> Address:
    """Normalise any address, as suppressions have them, too.

    `region` is where a national number is at home.

    An e-mail address takes its one form (`routing.text.email_addresses`). Its country
    is the region, if it is a code: lists have names of countries, too, which nothing
    depends on.
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
    channel = Channel.EMAIL if {"@", "\uff20", "\ufe6b"} & {*text} else Channel.SMS
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
    try:
        return Address(*read_number(text, region))
    except NoCountry as error:
        raise CountryMissing(str(error)) from None
    except NotANumber as error:
        raise AddressError(str(error)) from None
