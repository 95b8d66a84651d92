"""Adding addresses to those that are held back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import transaction

from messaging.addresses import address_key
from messaging.models import Suppression, usual_scope
from messaging.vocabulary import SuppressionReason, SuppressionScope

BATCH = 1000  # rows of one statement


@transaction.atomic
def suppress(
    addresses: Iterable[str],
    *,
    reason: SuppressionReason,
    source: str,
    scope: SuppressionScope | None = None,
) -> None:
    """Hold back what goes to these addresses; `source` is who said so.

    1. Add those that are new, by default with the usual scope of the reason.
    2. Widen those that held back marketing only, where everything is to be held back
       now. Otherwise an address keeps its first reason.
    """
    by_scope: dict[SuppressionScope, set[str]] = defaultdict(set)
    for address in addresses:
        wanted = usual_scope(reason, address) if scope is None else scope
        by_scope[wanted].add(address_key(address))
    for wanted, keys in sorted(by_scope.items()):
        # In one order everywhere: unique rows that others add are waited for.
        ordered = sorted(keys)
        for start in range(0, len(ordered), BATCH):
            _add(ordered[start : start + BATCH], reason, source, wanted)


def _add(
    keys: list[str],
    reason: SuppressionReason,
    source: str,
    scope: SuppressionScope,
) -> None:
    """The rows that are there already are locked: no START may take them away now."""
    Suppression.objects.bulk_create(
        [
            Suppression(address=key, reason=reason, source=source, scope=scope)
            for key in keys
        ],
        update_conflicts=True,
        unique_fields=["address"],
        update_fields=["address"],
    )
    if scope == SuppressionScope.ALL:
        _widen(keys, reason, source)


def _widen(keys: list[str], reason: SuppressionReason, source: str) -> None:
    """What a START would not lift keeps its reason, so that none lifts it now."""
    narrow = Suppression.objects.filter(
        address__in=keys, scope=SuppressionScope.MARKETING
    )
    narrow.filter(reason=SuppressionReason.OPTED_OUT).update(
        scope=SuppressionScope.ALL, reason=reason, source=source
    )
    narrow.update(scope=SuppressionScope.ALL)
