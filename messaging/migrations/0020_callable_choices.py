"""The words of closed lists are named by their list: a new word needs no migration."""

import messaging.vocabulary
import routing.vocabulary
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0019_owner_index'),
    ]

    operations = [
        migrations.AlterField(
            model_name='campaign',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='campaign',
            name='kind',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.CampaignKind.choices, default=routing.vocabulary.CampaignKind['MARKETING']),
        ),
        migrations.AlterField(
            model_name='campaign',
            name='status',
            field=models.PositiveSmallIntegerField(choices=messaging.vocabulary.CampaignStatus.choices, default=messaging.vocabulary.CampaignStatus['DRAFT']),
        ),
        migrations.AlterField(
            model_name='campaignmessage',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='campaignmessage',
            name='status',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.MessageStatus.choices, default=routing.vocabulary.MessageStatus['QUEUED']),
        ),
        migrations.AlterField(
            model_name='suppression',
            name='reason',
            field=models.PositiveSmallIntegerField(choices=messaging.vocabulary.SuppressionReason.choices),
        ),
        migrations.AlterField(
            model_name='suppression',
            name='scope',
            field=models.PositiveSmallIntegerField(choices=messaging.vocabulary.SuppressionScope.choices, db_default=messaging.vocabulary.SuppressionScope['ALL'], default=messaging.vocabulary.SuppressionScope['ALL'], help_text='What is held back.'),
        ),
        migrations.AlterField(
            model_name='workerheartbeat',
            name='kind',
            field=models.PositiveSmallIntegerField(choices=messaging.vocabulary.WorkerKind.choices),
        ),
    ]
