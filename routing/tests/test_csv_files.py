"""CSV files: written cells can be read again, and do not run in a spreadsheet."""

from __future__ import annotations

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.csv_files import DELIMITERS, CsvFile, harmless, plain

cells = st.text(alphabet="='+-@\t\r\n aé;,\"\u200b\ufeff\uff1d1", max_size=6)


@pytest.mark.parametrize(
    "cell",
    [
        *("=cmd|' /C calc'!A0", "+1+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1"),
        *(" =1", "\u200b=1", "\u00a0=1", "\uff1d1", "\uff0b1", "'=1", "''+1"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe(cell):
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "Ann", "1+1", "a=b", "'tis", "O'Neil", "a@b.de"])
def test_other_cells_stay_as_they_are(cell):
    assert harmless(cell) == plain(cell) == cell


@given(cell=cells)
def test_what_was_made_harmless_can_be_taken_back(cell):
    assert plain(harmless(cell)) == cell


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(cells, cells), max_size=5), between=st.sampled_from(";,\t")
)
def test_what_was_written_is_read_again(tmp_path_factory, rows, between):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=between)
        writer.writerows([("id", "a", "b"), *(("x", *map(harmless, r)) for r in rows)])

    read = [cells for _, cells in CsvFile(path).rows()]

    assert read == [["x", *row] for row in rows]


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_each_row_has_the_line_that_it_starts_on(tmp_path, delimiter):
    path = tmp_path / "rows.csv"
    lines = ["", "", f"a{delimiter}b", "", f'"1\n2"{delimiter}3', "", f"4{delimiter}5"]
    path.write_text("\n".join(lines))

    assert [line for line, _ in CsvFile(path).rows()] == [5, 8]
