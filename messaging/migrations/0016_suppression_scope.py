from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0015_campaign_source")]

    operations = [
        migrations.AddField(
            model_name="suppression",
            name="scope",
            # With a default of the database's own: workers and web processes of the
            # version before go on adding rows, and hold back everything.
            field=models.PositiveSmallIntegerField(
                choices=[(0, "All"), (1, "Marketing")],
                db_default=0,
                default=0,
                help_text="What is held back.",
            ),
        ),
    ]
