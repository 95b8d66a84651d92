"""manage.py loaddata: Django's own, which leaves the routes that are there alone."""

from __future__ import annotations

from django.core.management.commands import loaddata
from django.core.serializers.base import DeserializedObject
from django.db import connections

from routing.models import ChannelRoutingConfig


class Command(loaddata.Command):
    """A route without a primary key, as `default_routes` has them, is a beginning.

    It is for a channel that has no route of the same scope yet, active or not. What an
    operator has made, edited or switched off stays as it is, whatever its number. A
    backup, whose routes have their primary keys, is restored as ever.
    """

    def save_obj(self, obj: DeserializedObject) -> bool:
        """Django asks this of each object: whether it was saved."""
        route = obj.object
        if isinstance(route, ChannelRoutingConfig) and route.pk is None:
            routes = ChannelRoutingConfig.objects.using(self.using)
            if kept := routes.of_same_scope(route).first():
                self._say_kept(kept)
                return False
            # Rows that brought their numbers along have not moved the sequence on.
            self.reset_sequences(connections[self.using], {ChannelRoutingConfig})
        return bool(super().save_obj(obj))

    def _say_kept(self, route: ChannelRoutingConfig) -> None:
        if self.verbosity >= 1:
            self.stdout.write(f"Route {route.pk} ({route}) stays as it is.")
