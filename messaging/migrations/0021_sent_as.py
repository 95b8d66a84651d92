from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0020_callable_choices")]

    operations = [
        migrations.AddField(
            model_name="workerheartbeat",
            name="sends_as",
            field=models.JSONField(
                blank=True,
                help_text="The account and sender of each provider that can be asked.",
                null=True,
            ),
        ),
    ]
