"""Recipients from a CSV file: each row is accepted, or rejected with a reason."""

from __future__ import annotations

import codecs
import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.audience.recipients import (
    Recipient,
    RecipientFile,
    RecipientFileError,
    Rejection,
)
from routing.csv_files import CELL_LIMIT, COLUMN_LIMIT
from routing.vocabulary import Channel

ANN, BOB = "+14155552671", "+14155552672"
csv_noise = st.text(alphabet='a1+,"\n\r\t \0\ufeffé', max_size=60)


@pytest.fixture
def csv_file(tmp_path):
    """Makes a RecipientFile with these contents."""

    def make(content, *, channel=Channel.SMS, **options):
        data = content if isinstance(content, bytes) else content.encode()
        path = tmp_path / "recipients.csv"
        path.write_bytes(data)
        return RecipientFile(path, channel=channel, **options)

    return make


def numbers_of(rows):
    return [row.address.text for row in rows if isinstance(row, Recipient)]


def rejections_of(rows):
    return [row for row in rows if isinstance(row, Rejection)]


def test_a_row_is_an_address_and_the_values_of_all_its_columns(csv_file):
    rows = list(csv_file(f"Phone, First_Name \n{ANN}, Ann \n"))

    assert numbers_of(rows) == [ANN]
    assert rows[0].line == 2
    assert rows[0].values == {"phone": ANN, "first_name": "Ann"}


@pytest.mark.parametrize(
    ("channel", "header", "address"),
    [
        (Channel.SMS, "phone", ANN),
        (Channel.SMS, "recipient", ANN),
        (Channel.MMS, "phone", ANN),
        (Channel.EMAIL, "email", "ann@example.com"),
        (Channel.EMAIL, "recipient", "ann@example.com"),
    ],
)
def test_each_channel_finds_its_column(csv_file, channel, header, address):
    rows = csv_file(f"name,{header}\nAnn,{address}\n", channel=channel)

    assert numbers_of(rows) == [address]


def test_one_file_serves_all_channels(csv_file):
    content = f"recipient,phone,email\nx,{ANN},ann@example.com\n"

    assert numbers_of(csv_file(content)) == [ANN]
    assert numbers_of(csv_file(content, channel=Channel.EMAIL)) == ["ann@example.com"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", [True, False])
def test_a_file_is_read_whichever_program_saved_it(csv_file, newline, mark, end):
    lines = ["phone,name", f"{ANN},Zoë", f"{BOB},Bob"]

    rows = list(csv_file(mark + newline.join(lines) + newline * end))

    assert numbers_of(rows) == [ANN, BOB]
    assert rows[0].values["name"] == "Zoë"


def test_a_row_has_the_line_that_it_starts_on(csv_file):
    content = f'phone,note\n{ANN},"one\ntwo\nthree"\n\nnobody,"x\ny"\n{BOB},z\n'

    rows = list(csv_file(content))

    assert [row.line for row in rows] == [2, 6, 8]
    assert rows[0].values["note"] == "one\ntwo\nthree"


def test_rows_without_any_text_are_no_rows(csv_file):
    assert numbers_of(csv_file(f"phone,name\n\n,\n  ,\t\n{ANN},Ann\n\n")) == [ANN]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("hello,Ann", "'hello' is not a valid phone number with its +country code"),
        (",Ann", "the address is empty"),
        (ANN, "it has 1 cell, the header has 2"),
        (f"{ANN},Ann,Lee", "it has 3 cells, the header has 2"),
        (f"{ANN},A\0nn", "it contains a NUL character"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_the_next_one_taken(
    csv_file, row, reason
):
    rows = list(csv_file(f"phone,name\n{row}\n{BOB},Bob\n"))

    cells = row.split(",")
    assert rejections_of(rows) == [Rejection(2, reason, cells[0], cells)]
    assert numbers_of(rows) == [BOB]


def test_a_rows_country_is_where_its_number_is_at_home(csv_file):
    content = "phone,country\n0151 12345678,DE\n(415) 555-2671,\n1,Germany\n"

    rows = list(csv_file(content, default_region="US"))

    assert numbers_of(rows) == ["+4915112345678", ANN]
    assert "'GERMANY' is not a country code" in rejections_of(rows)[0].reason


@pytest.mark.parametrize("number", ["07400 123456", "12"])
@pytest.mark.parametrize("header", ["phone", "phone,country"])
def test_where_no_country_is_known_the_reason_says_what_helps(csv_file, header, number):
    blank = "," * header.count(",")

    (rejected,) = csv_file(f"{header}\n{number}{blank}\n", country_in="in a letter")

    assert rejected.reason == (
        f"{number!r} is not a valid phone number with its +country code; a national "
        "number needs its country, in a letter"
    )


@pytest.mark.parametrize("name", ["Country Code", "country_iso", "ISO-2"])
def test_a_rows_country_is_known_by_other_names_of_its_column(csv_file, name):
    content = (
        f"phone,{name}\n612345678,es\n612345678,\n+34612345678,+34\n612345678,34\n"
    )

    rows = list(csv_file(content, default_region="FR"))

    assert numbers_of(rows) == ["+34612345678", "+33612345678", "+34612345678"]
    assert "'34' is not a country code" in rejections_of(rows)[0].reason


def test_several_columns_for_the_country_are_refused(csv_file):
    with pytest.raises(RecipientFileError, match="several columns for the country"):
        csv_file("phone,country code,iso2\n612345678,ES,ES\n")


@pytest.mark.parametrize("region", ["XX", "Germany", "UK"])
def test_a_default_region_that_is_no_country_is_refused_at_once(csv_file, region):
    with pytest.raises(RecipientFileError, match=r"is not a country code.*DE or US\.$"):
        csv_file(f"phone\n{ANN}\n", default_region=region)


@pytest.mark.parametrize("content", ["", "\ufeff", "\n", "\n\n\n", " , ,\n"])
def test_an_empty_file_is_refused(csv_file, content):
    with pytest.raises(RecipientFileError, match=r"is empty\. The first line names"):
        csv_file(content)


def test_a_file_with_a_header_only_has_no_rows(csv_file):
    assert list(csv_file("phone,name\n")) == []


@pytest.mark.parametrize(
    "content",
    [
        f"phone;name\n{ANN};Ann, B.\n",
        f'"phone";"name"\n"{ANN}";"Ann, B."\n',
        f'phone;"name, nick"\n{ANN};"Ann, B."\n',
        f"name\tphone\nAnn, B.\t{ANN}\n",
        f'phone,"name;nick"\n{ANN},"Ann, B."\n',
        f'phone,name;nick\n{ANN},"Ann, B."\n',
        f"sep=;\nphone;name\n{ANN};Ann, B.\n",
        f"\n\n \nphone;name\n\n{ANN};Ann, B.\n",
    ],
)
def test_a_file_may_have_semicolons_or_tabs_between_its_columns(csv_file, content):
    [row] = csv_file(content)

    assert row.address.text == ANN
    assert "Ann, B." in row.values.values()


def test_a_header_that_can_be_split_in_two_ways_is_refused(csv_file):
    with pytest.raises(RecipientFileError, match="has commas and semicolons between"):
        csv_file(f"phone;name,mobile\n{ANN};x,{BOB}\n")


def test_only_the_header_says_what_is_between_the_columns(csv_file):
    [row] = csv_file(f"phone,name\n{ANN},a;b;c;d\te\n")

    assert row.values["name"] == "a;b;c;d\te"


@pytest.mark.parametrize(
    ("channel", "header"),
    [
        *[(Channel.EMAIL, name) for name in ("E-Mail", "Email Address", "e_mail")],
        *[
            (Channel.EMAIL, name)
            for name in ("EMAIL\u00a0ADDRESS", "\u200bemail", "Mail")
        ],
        *[(Channel.SMS, name) for name in ("Phone", "Mobile", "Phone number", "Tel.")],
        *[(Channel.MMS, name) for name in ("cell-phone", "MSISDN", "Mobile Phone")],
    ],
)
def test_a_column_of_addresses_may_have_a_usual_name(csv_file, channel, header):
    address = "ann@example.com" if channel == Channel.EMAIL else ANN

    rows = csv_file(f"name,{header}\nAnn,{address}\n", channel=channel)

    assert numbers_of(rows) == [address]


def test_of_several_such_columns_the_one_to_use_is_named_by_people(csv_file):
    content = f"Mobile,{{}}Tel\n{ANN},{{}}{BOB}\n"

    with pytest.raises(RecipientFileError, match=r"mobile, tel\. Name the one"):
        csv_file(content.format("", ""))
    assert numbers_of(csv_file(content.format("phone,", f"{BOB},"))) == [BOB]


def test_a_file_without_a_header_is_refused_with_what_it_has(csv_file):
    with pytest.raises(RecipientFileError) as refusal:
        csv_file(f"{ANN},Ann\n")

    assert str(refusal.value).endswith(
        f"has no column 'phone' or 'recipient' for the SMS address. It has: {ANN}, ann."
    )


def test_a_refused_header_is_told_in_one_short_line(csv_file):
    with pytest.raises(RecipientFileError, match="It has: my number, x") as refusal:
        csv_file('"my\nnumber",' + ",".join(f"x{number}" for number in range(500)))

    assert len(str(refusal.value)) < 500


def test_a_column_that_is_there_twice_is_refused(csv_file):
    with pytest.raises(RecipientFileError, match="has the column 'name' twice"):
        csv_file(f"phone,Name, name\n{ANN},Ann,Lee\n")


def test_columns_without_a_name_are_left_alone(csv_file):
    rows = list(csv_file(f"phone,name,,\n{ANN},Ann,,\n"))

    assert numbers_of(rows) == [ANN]
    assert rows[0].values["name"] == "Ann"


@pytest.mark.parametrize("good_rows", [0, 10, 5000])
def test_a_file_that_stops_being_utf8_is_refused_where_it_happens(csv_file, good_rows):
    good = f"phone,name\n{ANN},Zoë\n" + f"{BOB},Bob\n" * good_rows
    content = good.encode() + b"+14155552673,Zo\xeb\n"

    with pytest.raises(RecipientFileError) as refusal:
        list(csv_file(content))

    line = good_rows + 3
    assert str(refusal.value).endswith(
        f"is not UTF-8 at line {line}: it has the byte 0xEB, which is 'ë' in "
        "Windows-1252. Save it as CSV UTF-8."
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("phone,name".encode("utf-16"), "at line 1: it is UTF-16."),
        ("phone,name".encode("utf-16-be"), "at line 1: it is UTF-16."),
        (codecs.BOM_UTF16_BE + "a".encode("utf-16-be"), "at line 1: it is UTF-16."),
        ("phone,name".encode("utf-16-le"), "at line 1: it is UTF-16."),
        ("phone,name".encode("utf-32"), "at line 1: it is UTF-32."),
        (b"PK\x03\x04 and more", "at line 1: it is an Excel workbook."),
        ("phone,name".encode("cp037"), "at line 1: it has the byte"),
        ("phone\r\rfünf\n".encode("cp1252"), "at line 3: it has the byte 0xFC"),
        ("phone\r\nfünf\n".encode("cp1252"), "at line 2: it has the byte 0xFC"),
        ("phone\n" * 20_000 + "x\udcc3", "at line 20001: it has the byte 0xC3"),
    ],
)
def test_a_file_of_another_encoding_is_refused_by_its_name(csv_file, content, says):
    if isinstance(content, str):
        content = content.encode(errors="surrogateescape")

    with pytest.raises(RecipientFileError) as refusal:
        list(csv_file(content))

    assert f"is not UTF-8 {says}" in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_header_has_so_many_columns_at_most(csv_file):
    names = [f"c{number}" for number in range(COLUMN_LIMIT)]

    with pytest.raises(RecipientFileError, match="has 1001 columns; at most 1000"):
        csv_file(",".join(["phone", *names]))


@pytest.mark.parametrize("size", [CELL_LIMIT + 1, 1_000_000])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_without_end_is_refused(csv_file, size, quote):
    rows = csv_file(f"phone,name\n{ANN},{quote}{'x' * size}{quote}\n{BOB},Bob\n")

    with pytest.raises(RecipientFileError, match=r"line 2"):
        list(rows)


def test_a_header_without_end_is_refused(csv_file):
    with pytest.raises(RecipientFileError, match="line 1"):
        csv_file("phone" * 1_000_000)


def test_a_quote_that_stays_open_is_refused_and_not_read_as_one_cell(csv_file):
    rows = csv_file(f'phone,name\n{ANN},"Ann\n' + f"{BOB},Bob\n" * 5)

    with pytest.raises(RecipientFileError, match=r"is not valid CSV at line 7: unexp"):
        list(rows)


def test_a_stray_quote_is_refused(csv_file):
    with pytest.raises(RecipientFileError, match="is not valid CSV at line 2"):
        list(csv_file(f'phone,name\n{ANN},"Ann" Lee\n'))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecipientFileError, match="cannot be read: No such file"):
        RecipientFile(tmp_path / "absent.csv", channel=Channel.SMS)


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(RecipientFileError, match="cannot be read: Is a directory"):
        RecipientFile(tmp_path, channel=Channel.SMS)


def test_rows_are_read_as_they_are_asked_for(csv_file):
    file = csv_file("phone\n" + f"{ANN}\n" * 100_000)

    first = list(itertools.islice(file, 3))

    assert numbers_of(first) == [ANN] * 3
    assert 0 < file.bytes_read < file.size / 10


def test_a_file_can_be_read_again_from_the_start(csv_file):
    file = csv_file(f"phone\n{ANN}\n{BOB}\n")

    assert list(file) == list(file)
    assert file.bytes_read == file.size


@pytest.mark.parametrize("line", [f"{ANN},x\n", "x" * 100])
def test_memory_does_not_grow_with_the_file_whatever_it_contains(csv_file, line):
    file = csv_file("phone,name\n" + line * (10_000_000 // len(line)))

    tracemalloc.start()
    try:
        for _ in itertools.islice(file, 100):
            pass
    except RecipientFileError:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4_000_000


@given(content=csv_noise)
def test_any_content_gives_rows_or_one_clear_refusal(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("noise") / "recipients.csv"
    path.write_bytes(f"phone,a\n{content}".encode())

    try:
        rows = list(RecipientFile(path, channel=Channel.SMS, default_region="US"))
    except RecipientFileError as refusal:
        assert len(str(refusal).splitlines()) == 1
        return
    assert all(row.line >= 2 for row in rows)
