"""Roles for people: groups with the permissions that each kind of work takes.

They are made by `migrate`, and then belong to the administrators of the installation: a
group that is there is never changed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

OWN_APPS = ("messaging", "routing", "django_q", "marketing_platform")
# What only administrators see: who may do what, and what was done with which token.
PRIVATE = ("apitoken", "auditevent", "loginthrottle")
ACTS = (
    "messaging.change_campaign",
    "messaging.change_campaignmessage",
    "messaging.add_suppression",
    "messaging.change_suppression",
    "messaging.delete_suppression",
    "routing.change_waitingreceipt",
    "routing.pause_provider",
)
ROLES = {
    "Viewer": "sees messages, campaigns, providers, routes and statistics",
    "Operator": "also acts: on messages, campaigns and suppressions, and on providers "
    "(pause, resume, try now)",
    "Administrator": "everything: also routes, prices, rate limits, users, API tokens "
    "and the audit log",
}


def permissions_of(role: str) -> list[Permission]:
    """What the role of this name may do."""
    every = Permission.objects.select_related("content_type").order_by("pk")
    return [each for each in every if _is_allowed(role, each)]


def _is_allowed(role: str, permission: Permission) -> bool:
    app, model = permission.content_type.app_label, permission.content_type.model
    if role == "Administrator":
        return app in (*OWN_APPS, "auth") and model != "permission"
    is_view = permission.codename == f"view_{model}"
    is_act = f"{app}.{permission.codename}" in ACTS
    may_see = is_view and app in OWN_APPS and model not in PRIVATE
    return may_see or (is_act and role == "Operator")


def make_roles(**_: Any) -> None:
    """Make the groups that are missing; called after each migration.

    Without signals: nobody did this, so it is not for the audit log.
    """
    there = set(Group.objects.filter(name__in=ROLES).values_list("name", flat=True))
    if missing := [name for name in ROLES if name not in there]:
        _make(missing)


def _make(names: Iterable[str]) -> None:
    granted = Group.permissions.through
    with transaction.atomic():
        Group.objects.bulk_create(Group(name=name) for name in names)
        groups = Group.objects.filter(name__in=names)
        granted.objects.bulk_create(
            granted(group_id=group.pk, permission_id=permission.pk)
            for group in groups
            for permission in permissions_of(group.name)
        )
