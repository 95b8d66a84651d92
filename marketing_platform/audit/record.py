"""Writes audit events, within the transaction of the act: both are kept, or neither.

Services report their acts by the signal `routing.signals.acted`. Changes of the models
below are watched as well, because they can be made in many ways: screens, the API,
fixtures, shells.
"""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver

from marketing_platform.audit.acting import Actor, current_actor
from marketing_platform.audit.changes import OWN_NOTES, differences, plain, values_of
from marketing_platform.audit.models import AuditEvent, Door
from marketing_platform.masking import mask
from routing.signals import acted

logger = logging.getLogger(__name__)

# Every change of these is an act.
WATCHED = (
    "auth.User",
    "auth.Group",
    "marketing_platform.ApiToken",
    "routing.ChannelRoutingConfig",
    "routing.FurtherProvider",
    "routing.RetryRule",
)
# Workers write these all day; only a change within a request is an act.
WATCHED_IN_REQUESTS = (
    "messaging.Campaign",
    "messaging.Suppression",
    "routing.ProviderThrottle",
    "routing.Rate",
)
BEFORE = "_values_before"  # on a row between pre_save and post_save
MANY_TO_MANY = {"post_add": "add", "post_remove": "remove", "post_clear": "clear"}


def record(
    action: str,
    target: Model | None = None,
    changes: dict[str, Any] | None = None,
    *,
    actor: Actor | None = None,
) -> AuditEvent:
    """Write an event, and a line to the log."""
    actor = actor or current_actor()
    event = AuditEvent.objects.create(
        door=actor.door,
        actor=actor.name[:200],
        user_id=actor.user_id,
        token=actor.token[:200],
        address=actor.address[:45],
        source=mask(actor.source)[:200],
        action=action,
        object_type=target._meta.label if target else "",
        object_id=str(target.pk) if target else "",
        object_label=mask(str(target))[:200] if target else "",
        changes=plain(changes or {}),
    )
    # Commands print what they do: a log line would only clutter their output.
    level = logging.DEBUG if event.door == Door.COMMAND else logging.INFO
    logger.log(level, "%s (%s, %s)", event, Door(event.door).label, actor.source)
    return event


@receiver(acted)
def note_act(
    action: str, target: Model | None, details: dict[str, Any], **_: Any
) -> None:
    """Record an act reported by a service."""
    record(action, target, details)


def watch() -> None:
    """Connect the receivers; called once the models are loaded."""
    for label in WATCHED + WATCHED_IN_REQUESTS:
        model = apps.get_model(label)
        pre_save.connect(_remember, model)
        post_save.connect(_note_save, model)
        post_delete.connect(_note_deletion, model)
    for relation in (User.groups, User.user_permissions, Group.permissions):
        m2m_changed.connect(_note_relation, relation.through)


def _is_act(sender: type[Model]) -> bool:
    """Whether a change of this table is a deliberate act."""
    if sender._meta.label in WATCHED:
        return True
    return current_actor().door in (Door.ADMIN, Door.API)


def _remember(
    sender: type[Model],
    instance: Model,
    update_fields: frozenset[str] | None = None,
    **_: Any,
) -> None:
    """Keep the row's old values, unless only automatic fields change."""
    if update_fields is not None and update_fields <= OWN_NOTES:
        return
    if _is_act(sender):
        rows = sender._base_manager.filter(pk=instance.pk)
        setattr(instance, BEFORE, values_of(rows.first() if instance.pk else None))


def _note_save(sender: type[Model], instance: Model, created: bool, **_: Any) -> None:
    before = vars(instance).pop(BEFORE, None)
    if before is None:
        return
    after = values_of(sender._base_manager.get(pk=instance.pk))
    if changes := differences(before, after):
        record("create" if created else "change", instance, changes)


def _note_deletion(sender: type[Model], instance: Model, **_: Any) -> None:
    if _is_act(sender):
        record("delete", instance, differences(values_of(instance), {}))


def _note_relation(
    instance: Model, action: str, model: type[Model], pk_set: set[Any] | None, **_: Any
) -> None:
    """Record groups and permissions that were granted or revoked."""
    if action in MANY_TO_MANY and (pk_set or action == "post_clear"):
        names = [str(each) for each in model._base_manager.filter(pk__in=pk_set or ())]
        what = str(model._meta.verbose_name_plural)
        record("change", instance, {what: {MANY_TO_MANY[action]: sorted(names)}})
