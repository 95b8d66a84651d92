from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0021_sent_as")]

    operations = [
        migrations.AddField(
            model_name="workerheartbeat",
            name="trouble",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Why it stands aside and claims nothing, if it does.",
                max_length=300,
            ),
        ),
    ]
