"""Who said no, and who took it back."""

from __future__ import annotations

from messaging.models import CampaignMessage, Suppression
from messaging.unsubscribe_links import message_id_in
from messaging.vocabulary import SuppressionReason


def opt_out(address: str, *, source: str) -> None:
    """Let no campaign send to the address any more; `source` is who said so.

    An address that is suppressed already keeps its first reason.
    """
    Suppression.objects.get_or_create(
        address=address,
        defaults={"reason": SuppressionReason.OPTED_OUT, "source": source},
    )


def opt_in(address: str) -> None:
    """Take an opt-out back. A bounce, a complaint or an operator's entry stays."""
    Suppression.objects.filter(
        address=address, reason=SuppressionReason.OPTED_OUT
    ).delete()


def recipient_of(token: str) -> str | None:
    """Whose unsubscribe link it is; None when it is none, or its message is gone."""
    message_id = message_id_in(token)
    if message_id is None:
        return None
    message = CampaignMessage.objects.filter(pk=message_id)
    return message.values_list("recipient", flat=True).first()
