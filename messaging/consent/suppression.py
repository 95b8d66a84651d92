"""Suppress addresses, and look suppressions up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet

from messaging.models import Suppression, usual_scope
from messaging.vocabulary import SuppressionReason, SuppressionScope
from routing.text.recipient_keys import address_key
from routing.vocabulary import CampaignKind

BATCH = 1000  # rows per statement


def suppressed_among(
    recipients: Iterable[tuple[str, int]],
) -> set[tuple[str, int]]:
    """Those that must not get their message. Recipients are in any spelling, each with
    the `CampaignKind` of its message.
    """
    keys = {each: {each[0], address_key(each[0])} for each in recipients}
    if not keys:
        return set()
    listed = Suppression.objects.filter(address__in=set().union(*keys.values()))
    scopes = dict(listed.values_list("address", "scope"))
    return {
        (to, kind)
        for (to, kind), spellings in keys.items()
        for scope in map(scopes.get, spellings)
        if scope == SuppressionScope.ALL
        or (scope is not None and kind == CampaignKind.MARKETING)
    }


@transaction.atomic
def suppress(
    addresses: Iterable[str],
    *,
    reason: SuppressionReason,
    source: str,
    scope: SuppressionScope | None = None,
) -> None:
    """Suppress these addresses; `source` is where the request came from.

    1. Add those that are new, by default with the usual scope of the reason.
    2. Widen those that held back only marketing, if everything is held back now.
    3. A reason that START does not lift replaces one that it lifts, in whatever order
       they come. Otherwise an address keeps its first reason.
    """
    by_scope: dict[SuppressionScope, set[str]] = defaultdict(set)
    for address in addresses:
        wanted = usual_scope(reason, address) if scope is None else scope
        by_scope[wanted].add(address_key(address))
    for wanted, keys in sorted(by_scope.items()):
        # In the same order everywhere, because inserts of the same keys wait for each
        # other.
        ordered = sorted(keys)
        for start in range(0, len(ordered), BATCH):
            _add(ordered[start : start + BATCH], reason, source, wanted)


def _add(
    keys: list[str],
    reason: SuppressionReason,
    source: str,
    scope: SuppressionScope,
) -> None:
    """Existing rows are locked by the upsert, so that no START can delete them now."""
    Suppression.objects.bulk_create(
        [
            Suppression(address=key, reason=reason, source=source, scope=scope)
            for key in keys
        ],
        update_conflicts=True,
        unique_fields=["address"],
        update_fields=["address"],
    )
    known = Suppression.objects.filter(address__in=keys)
    _outlast_a_start(known, reason, source)
    if scope == SuppressionScope.ALL:
        _widen(known, reason, source)


def _outlast_a_start(
    known: QuerySet[Suppression], reason: SuppressionReason, source: str
) -> None:
    if reason != SuppressionReason.OPTED_OUT:
        opted_out = known.filter(reason=SuppressionReason.OPTED_OUT)
        opted_out.update(reason=reason, source=source)


def _widen(
    known: QuerySet[Suppression], reason: SuppressionReason, source: str
) -> None:
    """Reasons that START does not lift are kept, so that it still does not."""
    narrow = known.filter(scope=SuppressionScope.MARKETING)
    narrow.filter(reason=SuppressionReason.OPTED_OUT).update(
        scope=SuppressionScope.ALL, reason=reason, source=source
    )
    narrow.update(scope=SuppressionScope.ALL)
