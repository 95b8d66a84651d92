"""Receipts are stored at once, and applied by workers.

PostgreSQL clears dead rows out of the table early: each row lives for a moment.
"""

from django.db import migrations, models

TABLE = "routing_waitingreceipt"
OFTEN = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_cost_delay": "0",
}


def set_options(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        options = ", ".join(f"{name} = {value}" for name, value in OFTEN.items())
        schema_editor.execute(f"ALTER TABLE {TABLE} SET ({options})")


class Migration(migrations.Migration):
    dependencies = [("routing", "0007_error_kinds")]

    operations = [
        migrations.CreateModel(
            name="WaitingReceipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("provider", models.CharField(max_length=100)),
                ("event_id", models.CharField(max_length=200)),
                (
                    "receipt",
                    models.JSONField(help_text="As its provider's adapter read it."),
                ),
                ("raw", models.TextField(help_text="As it came.")),
                ("received_at", models.DateTimeField()),
                (
                    "set_aside_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it failed alone. Null: it waits.",
                        null=True,
                    ),
                ),
                (
                    "problem",
                    models.CharField(blank=True, default="", max_length=500),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "event_id"), name="each_receipt_waits_once"
                    )
                ],
                "indexes": [
                    models.Index(
                        fields=["id"],
                        condition=models.Q(set_aside_at__isnull=True),
                        name="receipt_waiting",
                    )
                ],
            },
        ),
        migrations.RunPython(set_options, migrations.RunPython.noop),
    ]
