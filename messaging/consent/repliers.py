"""Whose reply it is: the handsets that a message to one of our numbers may come from.

Networks rewrite the sender of a reply: without its country code, with a 0 or a prefix
of theirs in front, in the spelling of an older numbering plan. What we sent lately says
who it can have been.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import phonenumbers

from messaging.models import CampaignMessage
from routing.text.handsets import handset_of, spellings_of
from routing.vocabulary import Channel

LATELY = timedelta(days=90)  # how long after a message its reply may come
_COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_SHORTEST_TAIL = 8  # digits that tell handsets apart, where those before are wrong
_LONGEST = 15  # digits of an E.164 number
_NO_DIGITS = re.compile(r"[^0-9]")


def handsets_behind(sender: str, *, provider: str, now: datetime) -> set[str]:
    """The keys of the handsets (`handset_of`) that a reply is taken to come from.

    1. A valid number that we wrote to is itself.
    2. Otherwise it is whom we wrote to lately at a number that ends as the sender does,
       and the sender itself if it is a valid number.
    3. Nobody that we know.
    """
    itself = _number_in(sender)
    if itself and _written_to(spellings_of(itself), provider, now):
        return {handset_of(itself)}
    found = _found_by_tail(sender, provider, now, is_whole=bool(itself))
    if itself:
        found.add(handset_of(itself))
    return found


def _number_in(sender: str) -> str:
    """The E.164 number that the sender is, in whichever spelling; "" for none."""
    try:
        number = phonenumbers.parse(sender)
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        key = phonenumbers.parse(handset_of(text))
    except phonenumbers.NumberParseException:
        return ""
    is_valid = phonenumbers.is_valid_number
    return text if is_valid(number) or is_valid(key) else ""


def _found_by_tail(
    sender: str, provider: str, now: datetime, *, is_whole: bool
) -> set[str]:
    """By as much of the sender's end as leads to anybody. Each look is by index."""
    for tail in _tails(_NO_DIGITS.sub("", sender), is_whole=is_whole):
        if found := _written_to(_numbers_ending_in(tail), provider, now):
            return found
    return set()


def _tails(digits: str, *, is_whole: bool) -> Iterator[str]:
    """The digits, and then fewer and fewer of them, unless they are a whole number."""
    significant = digits.lstrip("0")
    if len(significant) > 2 * _LONGEST:
        return
    yield significant
    if not is_whole:
        for start in range(1, len(significant) - _SHORTEST_TAIL + 1):
            yield significant[start:]


def _numbers_ending_in(tail: str) -> set[str]:
    """Any country's number with this end, or this as its national part."""
    numbers = {f"+{tail}"} | {
        f"+{code}{zero}{tail}" for code in _COUNTRY_CODES for zero in ("", "0")
    }
    spellings = [spellings_of(each) for each in numbers if len(each) <= _LONGEST + 1]
    return set().union(*spellings)


def _written_to(numbers: Iterable[str], provider: str, now: datetime) -> set[str]:
    """The handsets of these that we wrote to lately, through this provider if any."""
    rows = CampaignMessage.objects.filter(
        recipient__in=sorted(numbers),
        channel__in=[Channel.SMS, Channel.MMS],
        sent_at__gte=now - LATELY,
    ).values_list("recipient", "provider")
    by_provider = list(rows.distinct())
    same = [recipient for recipient, name in by_provider if name == provider]
    return {
        handset_of(each) for each in same or [recipient for recipient, _ in by_provider]
    }
