"""The words of closed lists are named by their list: a new word needs no migration."""

import marketing_platform.audit.models
import marketing_platform.tokens.vocabulary
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketing_platform', '0005_own_only_tokens'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apitoken',
            name='scope',
            field=models.SmallIntegerField(choices=marketing_platform.tokens.vocabulary.TokenScope.choices, default=marketing_platform.tokens.vocabulary.TokenScope['READ']),
        ),
        migrations.AlterField(
            model_name='auditevent',
            name='door',
            field=models.PositiveSmallIntegerField(choices=marketing_platform.audit.models.Door.choices),
        ),
    ]
