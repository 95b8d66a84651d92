from importlib import import_module

from django.apps import AppConfig


class MarketingPlatformConfig(AppConfig):
    name = "marketing_platform"
    verbose_name = "Marketing platform"

    def ready(self) -> None:
        # Importing registers the checks and drf-spectacular's bearer scheme.
        import_module("marketing_platform.checks")
        import_module("marketing_platform.tokens.openapi")
        from marketing_platform.audit.record import watch

        watch()
        import marketing_platform.log_ins.backend  # noqa: F401 - connects receivers
