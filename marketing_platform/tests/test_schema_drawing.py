"""The drawing of the database schema in the documents."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command

from marketing_platform.schema_drawing import DRAWING, drawn

ROOT = Path(__file__).parents[2]


def test_the_documents_show_the_schema_as_it_is():
    page = (ROOT / DRAWING.page).read_text(encoding="utf-8")

    assert DRAWING.filled(page, drawn()) == page, "Run `manage.py draw_schema --write`."


def test_every_reference_is_drawn_with_both_its_tables(capsys):
    call_command("draw_schema")

    printed = capsys.readouterr().out
    assert "CampaignMessage ||--o{ MessageDeliveryAttempt : message" in printed
    assert "CampaignMessage |o--o{ DeliveryReceipt : message" in printed
    assert "| `messaging_campaignmessage` | One text to one recipient." in printed


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="lacks"):
        DRAWING.filled("# A page\n", drawn())

    assert DRAWING.begin not in drawn()
