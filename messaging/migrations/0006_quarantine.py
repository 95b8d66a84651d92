from django.db import migrations, models
from django.db.models import Q

from messaging.migrations._online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0005_single_message_indexes")]

    operations = [
        migrations.AddField(
            model_name="campaignmessage",
            name="quarantined_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When it was taken out of the queue, for it made workers fail.",
                null=True,
            ),
        ),
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(
                condition=Q(quarantined_at__isnull=False),
                fields=["quarantined_at"],
                name="message_quarantined",
            ),
        ),
    ]
