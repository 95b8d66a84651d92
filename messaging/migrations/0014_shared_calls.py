from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0013_campaign_size")]

    operations = [
        migrations.AddField(
            model_name="campaignmessage",
            name="call_id",
            field=models.BigIntegerField(
                blank=True,
                help_text="The first message of the call that it shares with others.",
                null=True,
            ),
        ),
    ]
