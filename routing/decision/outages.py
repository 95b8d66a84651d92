"""Which kinds of messages wait because no provider may be used, read afresh."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from routing.decision.planner import active_routes
from routing.models import ProviderHealth
from routing.providers.registry import registry
from routing.rules.outage import Outage, Terms, alike, describe, outages
from routing.vocabulary import Channel


def current_outages() -> dict[Terms, Outage]:
    """The outages now, by what their messages have in common."""
    breakers = {
        (row.provider, Channel(row.channel)): row.breaker
        for row in ProviderHealth.objects.all()
    }
    return outages(active_routes(), breakers, problem_with=registry.problem_with)


def outage_sentences(
    found: Mapping[Terms, Outage], *, now: datetime
) -> dict[Terms, str]:
    """What people read of each outage; terms with the same outage share a sentence."""
    return {
        each.terms: describe(group, now)
        for group in alike(found.values())
        for each in group
    }
