from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0014_shared_calls'),
    ]

    operations = [
        migrations.AddField(
            model_name='campaign',
            name='source_file',
            field=models.CharField(blank=True, editable=False, help_text='The file that its recipients came from. Null: another way.', max_length=500, null=True),
        ),
        migrations.AddField(
            model_name='campaign',
            name='source_digest',
            field=models.CharField(blank=True, editable=False, help_text='SHA-256 of what that file contained.', max_length=64, null=True),
        ),
    ]
