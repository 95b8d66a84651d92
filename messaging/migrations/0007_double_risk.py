from django.db import migrations, models
from django.db.models import Q

from messaging.migrations._online import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0006_quarantine")]

    operations = [
        migrations.AddField(
            model_name="campaignmessage",
            name="double_risk_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when two attempts are taken to have got through.",
                null=True,
            ),
        ),
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(
                condition=Q(double_risk_at__isnull=False),
                fields=["double_risk_at"],
                name="message_double_risk",
            ),
        ),
    ]
