"""Lanes: whose messages go next.

A campaign's due messages are its lane. Urgent lanes go first; lanes of equal priority
get equal shares, however much waits in each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import cast

from messaging.models import Campaign
from messaging.queue import claim_sql
from messaging.queue.claim_sql import Place, Share
from messaging.queue.claimed import DueMessage
from routing.decision.planner import Available
from routing.rules.outage import Terms
from routing.vocabulary import CampaignKind, Channel

# A lane that filled its share most likely has more. While that is so, other lanes are
# looked for only this often: the longest that an urgent campaign may wait.
LOOK_EVERY = timedelta(milliseconds=50)
# A claim continues where the last one left a lane: everything before has been claimed,
# and while an old transaction is open elsewhere, its dead rows would be read again each
# time. Only rows that another worker locked and released may have been left behind.
LOOK_BACK_EVERY = timedelta(seconds=5)
# Single messages arrive while others leave, and may be committed some time after they
# fall due.
COMMIT_LAG = timedelta(seconds=5)

FRONT = Place("1970-01-01 00:00:00", 0)


class Lanes:
    """One worker's view of the lanes."""

    def __init__(self) -> None:
        self._campaigns: Sequence[Campaign] = ()  # the most urgent first
        self._places: dict[int, Place] = {}  # where lanes with more were left
        self._turn = 0  # decides which lane goes first
        self._looked_at = self._looked_back_at = datetime.min.replace(tzinfo=UTC)

    def lock_due(self, limit: int, available: Available, *, now: datetime) -> Draw:
        """Lock at most `limit` messages.

        `available` is how many messages the providers may take. Call this once per
        transaction, and `forget` if the transaction fails.
        """
        self._turn += 1
        if abs(now - self._looked_back_at) >= LOOK_BACK_EVERY:
            self._places, self._looked_back_at = {}, now
        looks_first = abs(now - self._looked_at) >= LOOK_EVERY
        if looks_first:
            self._look(now)
        draw = Draw(limit, available.copy(), self._places)
        self._draw(draw, now)
        if draw.room and not looks_first:
            self._look(now)
            self._draw(draw, now)
        self._places = draw.places()
        return draw

    def forget(self) -> None:
        """Start again at the front of all lanes."""
        self._places = {}
        self._looked_at = datetime.min.replace(tzinfo=UTC)

    def _look(self, now: datetime) -> None:
        """Find the lanes with due messages."""
        bodies = {each.pk: each.body for each in self._campaigns}
        self._campaigns = claim_sql.due_lanes(now, known=self._places, bodies=bodies)
        self._looked_at = now

    def _draw(self, draw: Draw, now: datetime) -> None:
        for _, level in groupby(self._campaigns, key=lambda each: each.priority):
            lanes = list(level)
            first = self._turn % len(lanes)
            draw.take(lanes[first:] + lanes[:first], now)


class Draw:
    """The messages that one claim locks, and whether there are more that may not leave:
    throttles hold some back for a moment, an outage others until it is over.
    """

    def __init__(
        self, room: int, available: Available, places: Mapping[int, Place]
    ) -> None:
        self.room = room
        self.locked: list[DueMessage] = []
        self.is_held_back = self.is_on_hold = False
        self._available = available
        self._before = places
        self._reached: dict[int, Place] = {}  # in this transaction: ours up to here
        self._exhausted: set[int] = set()

    def take(self, lanes: Sequence[Campaign], now: datetime) -> None:
        """Lock a fair share of each lane; lanes with more get what others leave."""
        while lanes and (shares := self._shares(lanes)):
            rows = claim_sql.lock_due(shares, now)
            self.locked += rows
            self.room -= len(rows)
            counts = Counter(row.campaign.id for row in rows)
            for campaign, _, _ in shares:
                self._available.draw(_terms(campaign), counts[campaign.id])
            last = {row.campaign.id: row for row in rows}
            for pk, row in last.items():
                self._reached[pk] = Place(row.due_at, row.pk)
            lanes = [each for each, _, size in shares if counts[each.pk] == size]
            self._exhausted |= {each.pk for each, _, _ in shares}
            self._exhausted -= {each.pk for each in lanes}

    def places(self) -> dict[int, Place]:
        """Where lanes that seem to have more were left."""
        places = {**self._before, **self._reached}
        return {pk: place for pk, place in places.items() if pk not in self._exhausted}

    def _shares(self, lanes: Sequence[Campaign]) -> list[Share]:
        """Divide the room among lanes; an exhausted throttle holds back its channel,
        and an outage its lanes.
        """
        room, available, shares = self.room, self._available.copy(), []
        for position, campaign in enumerate(lanes):
            terms = _terms(campaign)
            fair = -(-room // (len(lanes) - position))
            count = int(min(fair, available.of(terms)))
            if count > 0:
                shares.append(Share(campaign, self._place(campaign), count))
                room -= count
                available.draw(terms, count)
            else:
                self.is_held_back |= self._available.is_held_back(terms)
                self.is_on_hold |= terms in available.probes
        return shares

    def _place(self, campaign: Campaign) -> Place:
        if campaign.pk in self._reached:
            return self._reached[campaign.pk]
        place = self._before.get(campaign.pk, FRONT)
        if campaign.is_standing and place is not FRONT:
            due_at = datetime.fromisoformat(place.due_at) - COMMIT_LAG
            return Place(str(due_at), 0)
        return place


def _terms(campaign: Campaign) -> Terms:
    """Its channel and kind as they stand on its row, even if nobody knows them: what
    its messages lack is said when they get a provider.
    """
    return Terms(cast("Channel", campaign.channel), cast("CampaignKind", campaign.kind))
