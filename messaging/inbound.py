"""What a message from a handset changes: STOP and START."""

from __future__ import annotations

from django.dispatch import receiver

from messaging.addresses import AddressError, parse_address
from messaging.opt_outs import opt_in, opt_out
from routing.models import InboundMessage
from routing.signals import inbound_recorded
from routing.vocabulary import Channel, Keyword


@receiver(inbound_recorded)
def apply_keyword(*, inbound: InboundMessage, **_: object) -> None:
    """Suppress at once who says STOP, for all campaigns; START takes it back."""
    address = _address(inbound.sender)
    if inbound.keyword == Keyword.STOP:
        opt_out(address, source=inbound.provider)
    elif inbound.keyword == Keyword.START:
        opt_in(address)


def _address(sender: str) -> str:
    """The sender in the form that messages have; as it is when it is no such number."""
    try:
        return parse_address(Channel.SMS, sender).text
    except AddressError:
        return sender
