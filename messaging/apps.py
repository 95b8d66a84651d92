from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "Messaging"

    def ready(self) -> None:
        # Receipts travel up by signal: connect the receiver.
        import messaging.receipts  # noqa: F401
