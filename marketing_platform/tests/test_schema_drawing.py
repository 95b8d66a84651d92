"""The drawing of the database schema in the documents."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command

from marketing_platform.schema_drawing import BEGIN, PAGE, drawn, with_drawing

ROOT = Path(__file__).parents[2]


def test_the_documents_show_the_schema_as_it_is():
    page = (ROOT / PAGE).read_text(encoding="utf-8")

    assert with_drawing(page) == page, "Run `manage.py draw_schema --write`."


def test_every_reference_is_drawn_with_both_its_tables(capsys):
    call_command("draw_schema")

    printed = capsys.readouterr().out
    assert "CampaignMessage ||--o{ MessageDeliveryAttempt : message" in printed
    assert "CampaignMessage |o--o{ DeliveryReceipt : message" in printed
    assert "| `messaging_campaignmessage` | One text to one recipient." in printed


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="lacks"):
        with_drawing("# A page\n")

    assert BEGIN not in drawn()
