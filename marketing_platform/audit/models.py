"""The audit log: a row for each act, never edited afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.utils import timezone

from routing.vocabulary import ChoiceEnum


class Door(ChoiceEnum):
    """How the actor came in."""

    COMMAND = 0  # a command or a worker on one of our hosts
    ADMIN = 1  # the back office
    API = 2
    WEB = 3  # without an account: webhooks, unsubscribe links, log-ins


class AppendOnly(TypeError):
    """Audit events cannot be changed or deleted; `purge` clears away old ones."""

    def __init__(self) -> None:
        super().__init__(AppendOnly.__doc__)


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly

    def since(self, moment: datetime) -> AuditEventQuerySet:
        """Those from this time on."""
        return self.filter(at__gte=moment)

    def purge(self, *, before: datetime, at_most: int) -> int:
        """Clear away the oldest ones from before this time; returns how many."""
        ids = self.filter(at__lt=before).order_by("at").values_list("pk", flat=True)
        old = self.filter(pk__in=list(ids[:at_most])).order_by()
        return old._raw_delete(old.db)


class AuditEvent(models.Model):
    """One act: who did it, to what, and what changed.

    Names are stored as text: they outlive the user, the token and the object.
    """

    at = models.DateTimeField(default=timezone.now, db_index=True)
    door = models.PositiveSmallIntegerField(choices=Door.choices)
    actor = models.CharField(
        max_length=200,
        blank=True,
        db_index=True,
        help_text="A user name; for commands, the user of the operating system.",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    token = models.CharField(
        max_length=200, blank=True, help_text="The API token that it was done with."
    )
    address = models.CharField(
        max_length=45, blank=True, help_text="The network address of the caller."
    )
    source = models.CharField(
        max_length=200, blank=True, help_text="The request or the command."
    )
    action = models.CharField(max_length=40)
    object_type = models.CharField(max_length=100, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=200, blank=True)
    changes = models.JSONField(
        default=dict, blank=True, help_text="Fields with the values before and after."
    )

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["object_type", "object_id"], name="audit_event_object")
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.object_label}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Can be called only once."""
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly
