"""The words of closed lists are named by their list: a new word needs no migration."""

import routing.rules.breaker
import routing.vocabulary
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0008_waiting_receipts'),
    ]

    operations = [
        migrations.AlterField(
            model_name='channelroutingconfig',
            name='campaign_kind',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.CampaignKind.choices, help_text='Only for campaigns of this kind. Blank: all.', null=True),
        ),
        migrations.AlterField(
            model_name='channelroutingconfig',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='channelroutingconfig',
            name='retry_strategy',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.RetryStrategy.choices, default=routing.vocabulary.RetryStrategy['EXPONENTIAL']),
        ),
        migrations.AlterField(
            model_name='channelroutingconfig',
            name='routing_strategy',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.RoutingStrategy.choices, default=routing.vocabulary.RoutingStrategy['PRIMARY']),
        ),
        migrations.AlterField(
            model_name='channelroutingconfig',
            name='unknown_outcome_policy',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.UnknownOutcomePolicy.choices, default=routing.vocabulary.UnknownOutcomePolicy['WAIT'], help_text='When nobody can say whether a message was sent: Wait for a receipt and never send twice (marketing), or Resend (codes and alerts).'),
        ),
        migrations.AlterField(
            model_name='deliveryquality',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='deliveryreceipt',
            name='error_class',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.ErrorClass.choices, null=True),
        ),
        migrations.AlterField(
            model_name='deliveryreceipt',
            name='status',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.MessageStatus.choices, null=True),
        ),
        migrations.AlterField(
            model_name='inboundmessage',
            name='keyword',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.Keyword.choices, null=True),
        ),
        migrations.AlterField(
            model_name='messagedeliveryattempt',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='messagedeliveryattempt',
            name='error_class',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.ErrorClass.choices, null=True),
        ),
        migrations.AlterField(
            model_name='messagedeliveryattempt',
            name='fallback_reason',
            field=models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.FallbackReason.choices, null=True),
        ),
        migrations.AlterField(
            model_name='messagedeliveryattempt',
            name='outcome',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.AttemptOutcome.choices),
        ),
        migrations.AlterField(
            model_name='providerhealth',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='providerhealth',
            name='state',
            field=models.PositiveSmallIntegerField(choices=routing.rules.breaker.BreakerState.choices, default=routing.rules.breaker.BreakerState['CLOSED']),
        ),
        migrations.AlterField(
            model_name='rate',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='statisticsentry',
            name='channel',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.Channel.choices),
        ),
        migrations.AlterField(
            model_name='webhookcount',
            name='outcome',
            field=models.PositiveSmallIntegerField(choices=routing.vocabulary.WebhookOutcome.choices),
        ),
    ]
