"""What a text from a handset changes: STOP and START."""

from __future__ import annotations

import logging

from django.dispatch import receiver

from messaging.consent.opt_outs import opt_in, opt_out
from messaging.consent.repliers import handsets_behind
from routing.models import InboundMessage
from routing.signals import inbound_recorded
from routing.vocabulary import Keyword

logger = logging.getLogger(__name__)


@receiver(inbound_recorded)
def apply_keyword(*, inbound: InboundMessage, **_: object) -> None:
    """Apply STOP, which suppresses the sender for all campaigns, or START, which
    revokes that.

    A STOP counts for every handset that it may have come from. A START gives consent:
    if it may have come from several handsets, it counts for none.
    """
    if inbound.keyword not in {Keyword.STOP, Keyword.START}:
        return
    handsets = handsets_behind(
        inbound.sender, provider=inbound.provider, now=inbound.received_at
    )
    if inbound.keyword == Keyword.STOP:
        _stop(inbound, handsets)
    elif len(handsets) <= 1:
        opt_in(*(handsets or {inbound.sender}))


def _stop(inbound: InboundMessage, handsets: set[str]) -> None:
    """If no handset is found, suppress the sender as it is, where operators see it."""
    if not handsets:
        logger.warning(
            "Inbound message %s says STOP, but nothing was sent to its sender.",
            inbound.pk,
        )
    for address in sorted(handsets or {inbound.sender} - {""}):
        opt_out(address, source=inbound.provider)
