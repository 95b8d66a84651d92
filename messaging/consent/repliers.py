"""Who replied: the handsets that a text to one of our numbers may come from.

Networks rewrite the sender of a reply: without its country code, with a 0 or their own
prefix in front, or in the form of an older numbering plan. Recently sent messages show
who it may have been.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import phonenumbers

from messaging.models import CampaignMessage
from routing.text.recipient_keys import handset_of, spellings_of
from routing.vocabulary import Channel

LATELY = timedelta(days=90)  # how long after a message a reply may come
_COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_SHORTEST_TAIL = 8  # last digits that identify a handset if those before are wrong
_LONGEST = 15  # digits of an E.164 number
_NO_DIGITS = re.compile(r"[^0-9]")


def handsets_behind(sender: str, *, provider: str, now: datetime) -> set[str]:
    """The keys (`handset_of`) of the handsets that a reply is assumed to come from.

    1. The sender, if it is a valid number that we sent to.
    2. Otherwise recent recipients whose number ends like the sender, and the sender
       itself if it is a valid number.
    3. Otherwise none.
    """
    itself = _number_in(sender)
    if itself and _written_to(spellings_of(itself), provider, now):
        return {handset_of(itself)}
    found = _found_by_tail(sender, provider, now, is_whole=bool(itself))
    if itself:
        found.add(handset_of(itself))
    return found


def _number_in(sender: str) -> str:
    """The sender as an E.164 number, from any spelling; "" if it is none."""
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
    """Recipients found by the longest tail of the sender that matches any. Each query
    uses an index.
    """
    for tail in _tails(_NO_DIGITS.sub("", sender), is_whole=is_whole):
        if found := _written_to(_numbers_ending_in(tail), provider, now):
            return found
    return set()


def _tails(digits: str, *, is_whole: bool) -> Iterator[str]:
    """The digits, then ever shorter tails of them unless they are a whole number."""
    significant = digits.lstrip("0")
    if len(significant) > 2 * _LONGEST:
        return
    yield significant
    if not is_whole:
        for start in range(1, len(significant) - _SHORTEST_TAIL + 1):
            yield significant[start:]


def _numbers_ending_in(tail: str) -> set[str]:
    """Any country's numbers whose national part is this, and this as a full number."""
    numbers = {f"+{tail}"} | {
        f"+{code}{zero}{tail}" for code in _COUNTRY_CODES for zero in ("", "0")
    }
    spellings = [spellings_of(each) for each in numbers if len(each) <= _LONGEST + 1]
    return set().union(*spellings)


def _written_to(numbers: Iterable[str], provider: str, now: datetime) -> set[str]:
    """The handsets of those numbers that we sent to recently; only those sent to
    through this provider, if there are any.
    """
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
