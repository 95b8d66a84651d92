"""Counts of webhook calls. From here on references are sealed: the day on which this is
applied ends those without a seal (`routing.receipts.matching`).
"""

from django.db import migrations, models

from routing.vocabulary import WebhookOutcome


class Migration(migrations.Migration):
    dependencies = [("routing", "0005_statistics_name")]

    operations = [
        migrations.CreateModel(
            name="WebhookCount",
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
                ("hour", models.DateTimeField(help_text="The beginning of it.")),
                (
                    "provider",
                    models.CharField(
                        blank=True,
                        help_text="Blank: a name that no provider has.",
                        max_length=100,
                    ),
                ),
                (
                    "outcome",
                    models.PositiveSmallIntegerField(choices=WebhookOutcome.choices()),
                ),
                ("calls", models.PositiveBigIntegerField()),
                ("last_at", models.DateTimeField()),
                ("last_detail", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "verbose_name": "webhook calls",
                "verbose_name_plural": "webhook calls",
                "ordering": ["-hour", "provider", "outcome"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "provider", "outcome"),
                        name="one_count_per_hour_provider_and_outcome",
                    )
                ],
            },
        ),
    ]
