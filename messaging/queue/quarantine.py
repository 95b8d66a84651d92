"""Quarantine: a message that nothing can be done with is taken aside, alone.

Without it, one such message would fail each worker that comes upon it, one after the
other, and nobody's messages would leave. It is Failed, with the reason, and no worker
takes it again by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import DatabaseError

from messaging.models import CampaignMessage
from routing.vocabulary import MessageStatus

logger = logging.getLogger(__name__)


def quarantine(
    message: CampaignMessage,
    reason: str,
    *,
    now: datetime,
    unknown_since: datetime | None = None,
) -> None:
    """Take a message aside whose row the caller has locked.

    `unknown_since` is given when it may have been sent: a receipt still settles it.
    """
    CampaignMessage.objects.filter(pk=message.pk).update(
        status=MessageStatus.FAILED,
        status_reason=f"Quarantined: {reason}"[:500],
        lease_owner=None,
        lease_expires_at=None,
        unknown_since=unknown_since,
        finished_at=now,
        quarantined_at=now,
    )


@contextmanager
def quarantined_if_it_fails(
    message: CampaignMessage, *, now: datetime, unknown_since: datetime | None = None
) -> Iterator[None]:
    """Take the message aside if what is done with it raises, and go on with others.

    What the database raises is no message's fault, and goes up.
    """
    try:
        yield
    except DatabaseError:
        raise
    except Exception as error:
        logger.exception("Message %s is quarantined.", message.pk)
        reason = f"{type(error).__name__}: {error}".replace("\0", "")
        quarantine(message, reason, now=now, unknown_since=unknown_since)
