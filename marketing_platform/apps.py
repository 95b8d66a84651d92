from django.apps import AppConfig


class MarketingPlatformConfig(AppConfig):
    name = "marketing_platform"
    verbose_name = "Marketing platform"

    def ready(self) -> None:
        # drf-spectacular learns of the bearer scheme by import.
        import marketing_platform.tokens.openapi  # noqa: F401
        from marketing_platform.audit.record import watch

        watch()
