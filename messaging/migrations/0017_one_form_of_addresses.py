"""Suppressions, and messages that have not left, under the one form of their address.

Row by row and without locks on the tables, while workers go on. An interrupted run is
simply started again: what has its form is passed over.
"""

from django.db import IntegrityError, migrations, transaction
from django.db.models import Q
from django.utils import timezone

from routing.text.recipient_keys import address_key
from routing.statistics.entries import save_counts
from routing.rules.tally import TallySheet, status_counts

BATCH = 1000
EMAIL = 2  # a Channel
QUEUED, SENDING, CANCELLED = 0, 1, 6  # of MessageStatus
OPTED_OUT = 0  # a SuppressionReason
ALL, MARKETING = 0, 1  # of SuppressionScope
# Only such addresses may have had another form so far.
UNUSUAL = r'[^ -~]|xn--|^"|\['
SAME_MAILBOX = "Another message of its campaign goes to the same mailbox."


def narrow_opt_outs(apps, schema_editor):
    """Who unsubscribed from e-mail so far wanted no more marketing."""
    suppressions = apps.get_model("messaging", "Suppression").objects
    for rows in _batches(suppressions.filter(reason=OPTED_OUT, scope=ALL)):
        ids = [pk for pk, address in rows if "@" in address]
        suppressions.filter(pk__in=ids).update(scope=MARKETING)


def add_keys(apps, schema_editor):
    """The rows under other spellings stay until messages have the new form as well."""
    suppressions = apps.get_model("messaging", "Suppression").objects
    for row in _respelled(suppressions):
        values = {"reason": row.reason, "source": row.source, "scope": row.scope}
        key = address_key(row.address)
        kept, is_new = suppressions.get_or_create(address=key, defaults=values)
        if is_new:
            suppressions.filter(pk=kept.pk).update(created_at=row.created_at)
        elif kept.scope == MARKETING and row.scope == ALL:
            suppressions.filter(pk=kept.pk).update(**values)


def rename_messages(apps, schema_editor):
    """Campaign by campaign: those that wait are found by an index."""
    messages = apps.get_model("messaging", "CampaignMessage").objects
    campaigns = apps.get_model("messaging", "Campaign").objects
    waiting = messages.filter(status__in=[QUEUED, SENDING], recipient__regex=UNUSUAL)
    for campaign in campaigns.filter(channel=EMAIL).values_list("pk", flat=True):
        rows = waiting.filter(campaign=campaign)
        for pk, recipient in list(rows.values_list("pk", "recipient")):
            if (key := address_key(recipient)) != recipient:
                _rename(messages.filter(pk=pk, recipient=recipient), key)


def remove_spellings(apps, schema_editor):
    suppressions = apps.get_model("messaging", "Suppression").objects
    for row in _respelled(suppressions):
        if suppressions.filter(address=address_key(row.address)).exists():
            suppressions.filter(pk=row.pk).delete()


def _rename(message, key):
    """Cancel it where its campaign has a message to the same mailbox."""
    try:
        with transaction.atomic():
            message.filter(status__in=[QUEUED, SENDING]).update(recipient=key)
    except IntegrityError:
        _cancel(message.filter(status=QUEUED))


def _cancel(message):
    now, sheet = timezone.now(), TallySheet()
    with transaction.atomic():
        for channel, provider in message.values_list("channel", "provider"):
            changes = {"status": CANCELLED, "status_reason": SAME_MAILBOX}
            if message.update(**changes, finished_at=now):
                counts = status_counts(CANCELLED)
                sheet.count(counts, at=now, channel=channel, provider=provider)
        save_counts(sheet)


def _respelled(suppressions):
    """Those whose address is not the key that it is compared by."""
    for rows in _batches(suppressions):
        ids = [pk for pk, address in rows if address_key(address) != address]
        yield from suppressions.filter(Q(pk__in=ids)).order_by("pk")


def _batches(suppressions):
    """Ids and addresses, along the ids."""
    last = 0
    rows = suppressions.order_by("pk").values_list("pk", "address")
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1][0]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("messaging", "0016_suppression_scope"),
        ("routing", "0005_statistics_name"),
    ]

    operations = [
        migrations.RunPython(step, migrations.RunPython.noop)
        for step in (narrow_opt_outs, add_keys, rename_messages, remove_spellings)
    ]
