"""Messages of their own: lanes for them, and columns for what a campaign else shares.

PostgreSQL only notes the new columns in its catalogue: their defaults are constant.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0003_worker_clock_skew"),
    ]

    operations = [
        migrations.AddField(
            model_name="campaign",
            name="is_standing",
            field=models.BooleanField(
                default=False,
                help_text="The lane of single messages of its channel and kind.",
            ),
        ),
        migrations.AddField(
            model_name="campaignmessage",
            name="media_urls",
            field=models.JSONField(
                blank=True, help_text="Null: the campaign's.", null=True
            ),
        ),
        migrations.AddField(
            model_name="campaignmessage",
            name="occurrence",
            field=models.BigIntegerField(
                default=0,
                help_text="0: the campaign's one message to its recipient. "
                "Single messages have a random number each.",
            ),
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_standing", True)),
                fields=("channel", "kind"),
                name="one_lane_for_single_messages",
            ),
        ),
    ]
