from django.db import migrations, models
from django.db.models import Q

from messaging.migrations._online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0023_unknown_index")]

    operations = [
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(
                fields=["finished_at"],
                condition=Q(status__in=[4, 5]),
                name="message_lost",
            ),
        ),
    ]
