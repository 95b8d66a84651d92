"""Events are written within the transaction of the act: both are kept, or neither.

Services report what they did by the signal `routing.signals.acted`. Rows of the tables
below are watched as well, because many ways lead to them: screens, the API, fixtures,
shells.
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

# Whatever changes them is an act.
WATCHED = (
    "auth.User",
    "auth.Group",
    "marketing_platform.ApiToken",
    "routing.ChannelRoutingConfig",
    "routing.FurtherProvider",
)
# Workers write these all day; a person does so by a request.
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
    # Commands say what they do: a line of the log would only stand in between.
    level = logging.DEBUG if event.door == Door.COMMAND else logging.INFO
    logger.log(level, "%s (%s, %s)", event, Door(event.door).label, actor.source)
    return event


@receiver(acted)
def note_act(
    action: str, target: Model | None, details: dict[str, Any], **_: Any
) -> None:
    """What a service reports."""
    record(action, target, details)


def watch() -> None:
    """Connect the receivers; called once the models are there."""
    for label in WATCHED + WATCHED_IN_REQUESTS:
        model = apps.get_model(label)
        pre_save.connect(_remember, model)
        post_save.connect(_note_save, model)
        post_delete.connect(_note_deletion, model)
    for relation in (User.groups, User.user_permissions, Group.permissions):
        m2m_changed.connect(_note_relation, relation.through)


def _is_act(sender: type[Model]) -> bool:
    """Whether a person's or a program's doing, as far as the table tells."""
    if sender._meta.label in WATCHED:
        return True
    return current_actor().door in (Door.ADMIN, Door.API)


def _remember(
    sender: type[Model],
    instance: Model,
    update_fields: frozenset[str] | None = None,
    **_: Any,
) -> None:
    """Keep what the row was, unless it only takes notes of its own."""
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
    """Groups and permissions that were given or taken."""
    if action in MANY_TO_MANY and (pk_set or action == "post_clear"):
        names = [str(each) for each in model._base_manager.filter(pk__in=pk_set or ())]
        what = str(model._meta.verbose_name_plural)
        record("change", instance, {what: {MANY_TO_MANY[action]: sorted(names)}})
