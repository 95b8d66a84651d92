"""Inbound: what handsets write to us, stored once and passed up."""

from __future__ import annotations

import re
from datetime import datetime

from django.conf import settings
from django.db import transaction

from routing.models import InboundMessage
from routing.providers.base import Inbound
from routing.signals import inbound_recorded
from routing.text.keywords import keyword_of
from routing.text.phone_numbers import NotANumber, read_number
from routing.text.recipient_keys import handset_of

_NO_DIGITS = re.compile(r"[^0-9]")


def record_inbound(
    *, provider_name: str, inbound: Inbound, raw: str, now: datetime
) -> InboundMessage:
    """Store the message and tell who listens, unless this very one is there already.

    What is replayed, or sent again by its provider, changes nothing: an old START does
    not undo a newer STOP.
    """
    keyword = inbound.keyword
    if keyword is None:
        more = settings.INBOUND_STOP_WORDS
        keyword = keyword_of(inbound.text, sender=_home_of(inbound), more=more)
    with transaction.atomic():
        row, is_new = InboundMessage.objects.get_or_create(
            provider=provider_name,
            event_id=inbound.event_id,
            defaults={
                "sender": inbound.sender,
                "recipient": inbound.recipient,
                "text": inbound.text,
                "keyword": keyword,
                "received_at": now,
                "raw": raw.replace("\0", ""),
            },
        )
        if is_new:
            inbound_recorded.send(InboundMessage, inbound=row)
    return row


def _home_of(inbound: Inbound) -> str:
    """A number of the country that it comes from: our own, where the network passed the
    sender on in a form that only its country knows.
    """
    digits = _NO_DIGITS.sub("", inbound.sender).removeprefix("00")
    try:
        return read_number(handset_of(f"+{digits}")).text
    except NotANumber:
        return inbound.recipient
