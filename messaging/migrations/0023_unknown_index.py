from django.db import migrations, models
from django.db.models import Q

from messaging.migrations._online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0022_worker_trouble")]

    operations = [
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(
                fields=["provider", "unknown_since"],
                condition=Q(unknown_since__isnull=False),
                name="message_unknown",
            ),
        ),
    ]
