from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "Messaging"

    def ready(self) -> None:
        # Receipts and inbound messages arrive by signal: connect the receivers.
        # The gate's receiver checks tasks wherever they are created.
        from messaging.cluster import task_gate
        from messaging.consent import inbound  # noqa: F401
        from messaging.jobs import work_on_jobs
        from messaging.queue import (
            receipts,  # noqa: F401
            sweep,
        )

        sweep.further_chores.append(work_on_jobs)
        task_gate.read_finished_tasks_safely()
