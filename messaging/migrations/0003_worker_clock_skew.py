from datetime import timedelta

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_drain_schedule")]

    operations = [
        migrations.AddField(
            model_name="workerheartbeat",
            name="clock_skew",
            field=models.DurationField(
                default=timedelta(0),
                help_text="How far its host's clock is ahead of the database's.",
            ),
        ),
    ]
