from django.apps import AppConfig


class MarketingPlatformConfig(AppConfig):
    name = "marketing_platform"
    verbose_name = "Marketing platform"

    def ready(self) -> None:
        # drf-spectacular learns of the bearer scheme by import.
        import marketing_platform.tokens.openapi
        from marketing_platform.audit.record import watch

        watch()
        import marketing_platform.log_ins.backend  # noqa: F401 - connects receivers
