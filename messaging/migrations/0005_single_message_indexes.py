"""Many single messages for one recipient, and a way to find them.

The message table may be large. PostgreSQL builds both indexes while workers go on, so
that the queue is never held up; an interrupted run is simply started again.
"""

from django.db import migrations, models

from messaging.migrations._online import AddIndexOnline


class AddUniqueOnline(migrations.AddConstraint):
    """Over an index that is built first, without a lock on the table."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        name, table = self.constraint.name, model._meta.db_table
        columns = ", ".join(
            model._meta.get_field(field).column for field in self.constraint.fields
        )
        for statement in (
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",
            f"DROP INDEX IF EXISTS {name}",
            f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns})",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}",
        ):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("messaging", "0004_single_messages"),
    ]

    operations = [
        AddIndexOnline(
            model_name="campaignmessage",
            index=models.Index(fields=["recipient"], name="message_recipient"),
        ),
        AddUniqueOnline(
            model_name="campaignmessage",
            constraint=models.UniqueConstraint(
                fields=("campaign", "recipient", "occurrence"),
                name="one_message_per_occurrence",
            ),
        ),
        # Last, so that there is no moment without one.
        migrations.RemoveConstraint(
            model_name="campaignmessage", name="one_message_per_recipient"
        ),
    ]
