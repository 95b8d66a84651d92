from django.db import migrations, models

from messaging.migrations._online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0018_owners")]

    operations = [
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(
                condition=models.Q(("owner_id__isnull", False)),
                fields=["owner_id", "id"],
                name="message_owner",
            ),
        ),
    ]
