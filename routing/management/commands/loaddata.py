"""manage.py loaddata: Django's own, except that it does not touch existing routes."""

from __future__ import annotations

from django.core.management.commands import loaddata
from django.core.serializers.base import DeserializedObject
from django.db import connections

from routing.models import ChannelRoutingConfig


class Command(loaddata.Command):
    """A route without a primary key, as in `default_routes`, is only a default.

    It is added if its channel has no route of the same scope yet, active or not. Routes
    that an operator has made, edited or switched off stay as they are. A backup, whose
    routes have their primary keys, is restored as usual.
    """

    def save_obj(self, obj: DeserializedObject) -> bool:
        """Called by Django for each object; whether it was saved."""
        route = obj.object
        if isinstance(route, ChannelRoutingConfig) and route.pk is None:
            routes = ChannelRoutingConfig.objects.using(self.using)
            if kept := routes.of_same_scope(route).first():
                self._say_kept(kept)
                return False
            # Rows loaded with their primary keys have not advanced the sequence.
            self.reset_sequences(connections[self.using], {ChannelRoutingConfig})
        return bool(super().save_obj(obj))

    def _say_kept(self, route: ChannelRoutingConfig) -> None:
        if self.verbosity >= 1:
            self.stdout.write(f"Route {route.pk} ({route}) stays as it is.")
