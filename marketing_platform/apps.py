from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class MarketingPlatformConfig(AppConfig):
    name = "marketing_platform"
    verbose_name = "Marketing platform"

    def ready(self) -> None:
        # Importing registers the checks and drf-spectacular's bearer scheme.
        import_module("marketing_platform.checks")
        import_module("marketing_platform.tokens.openapi")
        from marketing_platform.audit.record import watch

        watch()
        from marketing_platform.audit.messages import acts_on
        from messaging.admin.tables import other_acts

        other_acts.append(acts_on)
        from marketing_platform.roles import make_roles

        # The last of the apps: by then the permissions of all others are there.
        post_migrate.connect(make_roles, sender=self)
        # These connect receivers.
        import_module("marketing_platform.log_ins.backend")
        import_module("marketing_platform.log_ins.idle")
