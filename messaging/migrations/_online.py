"""Changes of large tables that hold up no worker. No migration by itself."""

from django.db import migrations


class AddIndexOnline(migrations.AddIndex):
    """Without a lock on the table, where the database can."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        # What an interrupted build has left behind is of no use.
        schema_editor.execute(f"DROP INDEX IF EXISTS {self.index.name}")
        schema_editor.add_index(model, self.index, concurrently=True)
