"""Recipients' addresses, in the one form that all other code uses."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
from django.conf import settings

from messaging.rules.numbering_plans import country_of
from routing.providers.transport.mail import is_address
from routing.text.email_addresses import EmailAddressError, canonical_email
from routing.text.phone_numbers import (
    NoCountry,
    NotANumber,
    NumberKind,
    problem_with_kind,
    read_number,
)
from routing.text.recipient_keys import handset_of
from routing.vocabulary import Channel

_NO_PUNCTUATION = str.maketrans("", "", "-./()")


class AddressError(ValueError):
    """The text is not an address of this channel."""

    def with_hint(self, *, country_in: str) -> str:
        """The error text; `country_in` says where a number's country may be given."""
        return str(self)


class CountryMissing(AddressError):
    """The number may be a national one, but no country is given."""

    def with_hint(self, *, country_in: str) -> str:
        """The error text, with where to give the country."""
        return f"{self}; a national number needs its country, {country_in}"


class Address(NamedTuple):
    """An E.164 number with its country (ISO 3166), or an e-mail address."""

    text: str
    country: str = ""
    kind: NumberKind = NumberKind.HANDSET  # of a number


def parse_recipient(channel: Channel, text: str, *, region: str = "") -> Address:
    """Normalise an address that messages may go to.

    A number that is not a handset's is refused: at best the message is paid for and
    lost, at worst a premium-rate number earns a fraudster money.
    """
    address = parse_address(channel, text, region=region)
    if address.kind != NumberKind.HANDSET:
        _check_kind(address)
    return address


def _check_kind(address: Address) -> None:
    landlines = settings.SEND_TO_LANDLINES
    if problem := problem_with_kind(address.kind, takes_landlines=landlines):
        raise AddressError(f"cannot send to {address.text}: {problem}")


def parse_address(channel: Channel, text: str, *, region: str = "") -> Address:
    """Normalise any address, including those that are only suppressed.

    `region` is the country of a national number.

    An e-mail address takes its canonical form (`routing.text.email_addresses`). Its
    country is the region if that is a country code; lists also have country names, and
    nothing depends on those.
    """
    text, region = text.strip(), region.strip().upper()
    if not text:
        raise AddressError("the address is empty")
    if channel == Channel.EMAIL:
        return _email(text, region)
    return _number(text, region)


def address_in(text: str) -> str:
    """Normalise an address typed by a person, of any channel.

    Use it to search and to suppress, not to send: the number may belong to a former
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
    """The key of a number under a former numbering plan; "" for anything else."""
    written = "".join(text.split()).translate(_NO_PUNCTUATION)
    key = handset_of(written)
    if key == written:
        return ""
    try:
        return parse_address(Channel.SMS, key).text
    except AddressError:
        return ""


def check_region(region: str) -> None:
    """Refuse anything but a country code."""
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
