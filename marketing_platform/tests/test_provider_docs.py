"""The documents' lists of providers."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from marketing_platform.provider_docs import COMMAND, EXAMPLE, TABLES, example, tables
from marketing_platform.provider_settings import provider_classes
from routing.providers.options import DocsRow, Option
from routing.tests.providers.acme import AcmeSMS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("section", "text"), [(TABLES, tables), (EXAMPLE, example)])
def test_the_documents_list_the_providers_as_they_are(section, text):
    page = (ROOT / section.page).read_text(encoding="utf-8")

    assert section.filled(page, text(provider_classes())) == page, f"Run `{COMMAND}`."


def test_a_provider_is_a_row_and_so_is_each_of_its_options():
    rows = tables([AcmeSMS]).splitlines()

    assert f"| AcmeSMS | SMS | `{AcmeSMS.__module__}.AcmeSMS` | none | — |" in rows
    assert "| `ACME_TOKEN` | `TOKEN` | AcmeSMS | required |  |" in rows
    assert "| `ACME_IS_FLASH` | `IS_FLASH` | AcmeSMS | `0` | shown at once |" in rows


def test_an_option_that_providers_share_stands_there_once():
    class Twin(AcmeSMS):
        docs = DocsRow(receipts="signed")
        declared_options = (*AcmeSMS.declared_options, Option("EXTRA", help="by hand"))

    listed = tables([AcmeSMS, Twin])

    assert "| `ACME_TOKEN` | `TOKEN` | AcmeSMS, Twin | required |  |" in listed
    assert "| — | `EXTRA` | Twin | — | by hand |" in listed
    assert example([AcmeSMS, Twin]) == (
        "# ACME_TOKEN=\n"
        "#   a number of ours there\n"
        "# ACME_FROM=\n"
        "# ACME_BASE_URL=https://api.acme.example\n"
        "#   shown at once\n"
        "# ACME_IS_FLASH=0"
    )


def test_the_command_prints_the_tables(capsys):
    call_command("document_providers")

    assert capsys.readouterr().out.strip() == tables(provider_classes())


def test_the_command_writes_both_documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for section in (TABLES, EXAMPLE):
        (tmp_path / section.page).write_text(f"{section.begin}\n{section.end}\n")

    call_command("document_providers", write=True)

    assert tables(provider_classes()) in (tmp_path / TABLES.page).read_text()
    assert example(provider_classes()) in (tmp_path / EXAMPLE.page).read_text()


def test_the_command_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CommandError, match="run this in the project's root"):
        call_command("document_providers", write=True)
