from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "Messaging"

    def ready(self) -> None:
        # Receipts and inbound messages travel up by signal: connect the receivers.
        from messaging import inbound, receipts  # noqa: F401
