"""PostgreSQL clears dead rows out of the queue's tables early, and without pausing.

Each message is updated about three times, and a claim reads through what is dead in the
index of due messages. By default PostgreSQL waits until a fifth of the table is dead.
"""

from django.db import migrations

TABLES = ["messaging_campaignmessage", "messaging_workerheartbeat"]
OFTEN = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0.02",
}


def set_options(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        options = ", ".join(f"{name} = {value}" for name, value in OFTEN.items())
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} SET ({options})")


def reset_options(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(OFTEN)})")


class Migration(migrations.Migration):
    dependencies = [("messaging", "0010_retention_marks")]

    operations = [migrations.RunPython(set_options, reset_options)]
