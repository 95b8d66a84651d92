"""Retries by error class: the table, and the rules that are shipped."""

import django.db.models.functions.comparison
import routing.models.retry_rules
import routing.vocabulary
from django.db import migrations, models

MINUTE, HOUR = 60, 3600
NOT_NOW, HANDSET_OFF, MAILBOX_FULL, GREYLISTED, THROTTLED = 8, 9, 10, 11, 4
SENDGRID = "SendGrid tries again itself, for up to 72 hours, and then drops all mail to it."
SHIPPED = [
    (HANDSET_OFF, "", [15 * MINUTE, HOUR, 12 * HOUR], "Off, or out of reach."),
    (MAILBOX_FULL, "", [6 * HOUR, 24 * HOUR], "Its owner may empty it."),
    (GREYLISTED, "", [5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR], ""),
    (NOT_NOW, "", [5 * MINUTE, HOUR, 4 * HOUR], "Limits per recipient, local hours."),
    (
        THROTTLED,
        "",
        [5 * MINUTE, 30 * MINUTE, 2 * HOUR],
        "Receipts only: a call that is throttled waits its turn.",
    ),
    (MAILBOX_FULL, "SendGridEmail", [], SENDGRID),
    (NOT_NOW, "SendGridEmail", [], SENDGRID),
]


def create(apps, schema_editor):
    rules = apps.get_model("routing", "RetryRule").objects
    for error_class, provider, delays, note in SHIPPED:
        rules.get_or_create(
            error_class=error_class,
            provider=provider,
            channel=None,
            code="",
            defaults={"delays_seconds": delays, "note": note},
        )


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0009_callable_choices'),
    ]

    operations = [
        migrations.CreateModel(
            name='RetryRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('error_class', models.PositiveSmallIntegerField(choices=routing.vocabulary.ErrorClass.choices)),
                ('channel', models.PositiveSmallIntegerField(blank=True, choices=routing.vocabulary.Channel.choices, help_text='Blank: all.', null=True)),
                ('provider', models.CharField(blank=True, default='', help_text='Blank: all.', max_length=100)),
                ('code', models.CharField(blank=True, default='', help_text="The provider's own, as attempts show it, such as 30003. Blank: all.", max_length=100)),
                ('delays_seconds', models.JSONField(blank=True, default=list, help_text='The delays in seconds before each further try, at most 10 of at most 30 days. An empty list: not retried.', validators=[routing.models.retry_rules.whole_seconds])),
                ('is_active', models.BooleanField(default=True)),
                ('note', models.CharField(blank=True, default='', max_length=200)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['error_class', 'channel', 'provider', 'code'],
                'constraints': [models.UniqueConstraint(models.F('error_class'), django.db.models.functions.comparison.Coalesce('channel', -1), models.F('provider'), models.F('code'), name='one_retry_rule_per_failure', violation_error_code='rule_exists', violation_error_message='There is a rule for this class, channel, provider and code: change that one.')],
            },
        ),
        migrations.RunPython(create, migrations.RunPython.noop),
    ]
