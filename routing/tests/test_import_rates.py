"""manage.py import_rates: a whole deck or nothing, and the changes it prints."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date
from decimal import Decimal
from io import StringIO

import phonenumbers
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from marketing_platform.testing.shared import shared_file
from routing.factories import RateFactory
from routing.models import Rate
from routing.money import Money
from routing.prices.rate_decks import load_rate_table
from routing.prices.rate_files import RateFileError, read_rate_file
from routing.vocabulary import Channel

pytestmark = pytest.mark.django_db

HEADER = "country,name,prefix,price_per_segment,currency"
GERMANY = "DE,Germany,49,0.085,USD"
FRANCE = "FR,France,33,0.076,USD"
DAY = "2026-03-01"


@pytest.fixture
def rate_file(tmp_path):
    """Makes a file from its lines, or from bytes."""

    def make(*lines):
        path = tmp_path / "rates.csv"
        if isinstance(lines[0], bytes):
            path.write_bytes(lines[0])
        else:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return make


def run(path, *args, provider="TwilioSMS", channel="sms", since=DAY):
    out = StringIO()
    call_command(
        "import_rates",
        f"--provider={provider}",
        f"--channel={channel}",
        f"--valid-from={since}",
        str(path),
        *args,
        stdout=out,
    )
    return out.getvalue()


def refusal(path, *args, **options):
    """The command's one-line error; it has changed nothing."""
    before = deck()
    with pytest.raises(CommandError) as caught:
        run(path, *args, **options)
    assert deck() == before
    assert caught.value.returncode == 1
    text = str(caught.value)
    assert "\n" not in text
    return text


def deck():
    return list(Rate.objects.order_by("id").values())


def prices(provider="TwilioSMS"):
    rows = Rate.objects.deck(provider=provider, channel=Channel.SMS)
    return {
        (rate.dial_prefix, rate.country, str(rate.valid_from)): rate.price
        for rate in rows
    }


# --- what an import does -----------------------------------------------------------


def test_a_new_deck_is_added_whole(rate_file):
    output = run(rate_file(HEADER, GERMANY, FRANCE))

    assert prices() == {
        ("49", "DE", DAY): Decimal("0.085"),
        ("33", "FR", DAY): Decimal("0.076"),
    }
    assert output.splitlines() == [
        "+ 49 DE: 0.085 USD",
        "+ 33 FR: 0.076 USD",
        f"TwilioSMS from {DAY}: 2 added, 0 changed, 0 unchanged, 0 not in the file "
        "and kept.",
    ]


@pytest.mark.parametrize("since", [DAY, "2026-03-02"])
def test_the_same_file_twice_changes_nothing(rate_file, since):
    path = rate_file(HEADER, GERMANY, FRANCE)
    run(path)
    before = deck()

    output = run(path, since=since)

    assert deck() == before
    assert "0 added, 0 changed, 2 unchanged" in output


def test_a_new_price_holds_from_its_day_and_the_old_one_until_then(rate_file):
    run(rate_file(HEADER, GERMANY, FRANCE))

    output = run(rate_file(HEADER, "DE,,49,0.09,USD", FRANCE), since="2026-04-01")

    assert "~ 49 DE: 0.085 USD -> 0.09 USD" in output
    assert "0 added, 1 changed, 1 unchanged" in output
    assert prices() == {
        ("49", "DE", DAY): Decimal("0.085"),
        ("49", "DE", "2026-04-01"): Decimal("0.09"),
        ("33", "FR", DAY): Decimal("0.076"),
    }


def test_a_price_of_the_same_day_is_corrected(rate_file):
    run(rate_file(HEADER, GERMANY))
    written_at = Rate.objects.get().updated_at

    run(rate_file(HEADER, "DE,,49,0.09,EUR"))

    rate = Rate.objects.get()
    assert (rate.price, rate.currency) == (Decimal("0.09"), "EUR")
    assert rate.updated_at > written_at


def test_a_price_that_the_file_lacks_is_reported_and_kept(rate_file):
    run(rate_file(HEADER, GERMANY, FRANCE))

    output = run(rate_file(HEADER, GERMANY))

    assert "= 33 FR: 0.076 USD, not in the file, kept" in output
    assert ("33", "FR", DAY) in prices()


def test_prices_of_later_days_stay(rate_file):
    RateFactory(price=1, valid_from=date(2026, 5, 1))

    run(rate_file(HEADER, GERMANY))

    assert prices()["49", "DE", "2026-05-01"] == 1


def test_decks_of_other_providers_are_left_alone(rate_file):
    RateFactory(provider="VonageSMS", price=1)

    run(rate_file(HEADER, GERMANY))

    assert list(prices("VonageSMS").values()) == [1]


def test_a_dry_run_shows_the_same_and_writes_nothing(rate_file):
    RateFactory(price=1)
    before = deck()
    path = rate_file(HEADER, GERMANY, FRANCE)

    shown = run(path, "--dry-run")

    assert deck() == before
    summary = " Dry run: nothing was written.\n"
    assert shown.endswith(summary)
    assert shown.removesuffix(summary) + "\n" == run(path)


def test_the_diff_is_there_as_json(rate_file):
    RateFactory(price="0.1")
    RateFactory(dial_prefix="41", country="", price=1)

    report = json.loads(run(rate_file(HEADER, GERMANY, FRANCE), "--json", "--dry-run"))

    old, new = (
        {"price": "0.1", "currency": "USD"},
        {"price": "0.085", "currency": "USD"},
    )
    assert report["changed"] == [
        {"prefix": "49", "country": "DE", "old": old, "new": new}
    ]
    assert [change["prefix"] for change in report["added"]] == ["33"]
    assert [change["prefix"] for change in report["missing"]] == ["41"]
    assert (report["unchanged"], report["dryRun"]) == (0, True)
    assert (report["provider"], report["channel"]) == ("TwilioSMS", Channel.SMS)
    assert report["validFrom"] == DAY


def test_without_a_day_the_prices_hold_from_today(rate_file):
    path = rate_file(HEADER, GERMANY)

    call_command(
        "import_rates",
        "--provider=TwilioSMS",
        "--channel=sms",
        str(path),
        stdout=StringIO(),
    )

    assert Rate.objects.get().valid_from == timezone.localdate()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time"
)
def test_the_second_of_two_imports_sees_what_the_first_one_wrote(rate_file):
    RateFactory(price=1)
    path = rate_file(HEADER, "DE,,49,1,USD")

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Rate.objects.select_for_update().order_by("id").first()
            RateFactory(price=2, valid_from=date.fromisoformat(DAY))
            second = pool.submit(run_and_disconnect, path)
            assert wait([second], timeout=0.5).not_done
        output = second.result(timeout=10)

    assert "~ 49 DE: 2 USD -> 1 USD" in output
    assert prices()["49", "DE", DAY] == 1


def run_and_disconnect(path):
    """For a thread, which has a connection of its own."""
    try:
        return run(path)
    finally:
        connection.close()


# --- what a file may look like -----------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["prefix,price,currency", "49,0.085,USD"], ("49", "")),
        (["country,price,currency", "de,0.085,usd"], ("", "DE")),
        ([" Prefix , PRICE ,Currency", " 49 , 0.085 , USD "], ("49", "")),
        (["", "prefix,price,currency", "", "49,0.085,USD", ",,"], ("49", "")),
        (["\ufeffprefix,price,currency", "49,8.5E-2,USD"], ("49", "")),
        (["prefix,price,currency", '"49","0.08500000","USD"'], ("49", "")),
    ],
)
def test_a_deck_may_come_in_many_shapes(rate_file, lines, place):
    found = read_rate_file(rate_file(*lines))

    assert found == {place: Money(Decimal("0.085"), "USD")}


def test_a_price_may_be_nothing(rate_file):
    found = read_rate_file(rate_file("prefix,price,currency", "49,-0,USD"))

    assert str(found["49", ""].amount) == "0.000000"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("DE,Germany,49,-0.1,USD", "'-0.1' is below 0"),
        ("DE,Germany,49,NaN,USD", "'NaN' is not a number"),
        ("DE,Germany,49,Infinity,USD", "'Infinity' is not a number"),
        ("DE,Germany,49,cheap,USD", "'cheap' is not a number"),
        ("DE,Germany,49,,USD", "'' is not a number"),
        ("DE,Germany,49,1_000,USD", "'1_000' is not a number"),
        ('DE,Germany,49,"0,085",USD', "'0,085' is not a number"),
        ("DE,Germany,49,1000000,USD", "'1000000' is not below 1000000"),
        ("DE,Germany,49,1e999999,USD", "is not below 1000000"),
        ("DE,Germany,49,0.0000001,USD", "has more than 6 decimals"),
        ("DE,Germany,49,1e-999999,USD", "has more than 6 decimals"),
        ("DE,Germany,+49,0.1,USD", "'+49' is not a dial prefix"),
        ("DE,Germany,0049,0.1,USD", "'0049' is not a dial prefix"),
        ("DE,Germany,1234567890123456,0.1,USD", "is not a dial prefix"),
        ("DE,Germany,٤٩,0.1,USD", "is not a dial prefix"),
        ("ZZ,Nowhere,49,0.1,USD", "'ZZ' is not a country code"),
        ("001,World,49,0.1,USD", "'001' is not a country code"),
        (",Nowhere,,0.1,USD", "neither a prefix nor a country"),
        ("DE,Germany,49,0.1,", "'' is not a currency code"),
        ("DE,Germany,49,0.1,€", "'€' is not a currency code"),
        ("DE,Germany,49,0.1", "it has 4 cells, the header has 5"),
        ("DE,Germany,49,0.1,USD,more", "it has 6 cells, the header has 5"),
        (FRANCE, "it repeats the destination of line 2"),
    ],
)
def test_a_wrong_row_is_named_by_its_line_and_stops_the_import(
    rate_file, line, problem
):
    text = refusal(rate_file(HEADER, FRANCE, line, GERMANY))

    assert "was not imported: line 3: " in text
    assert problem in text


def test_the_first_wrong_rows_are_named_and_the_others_counted(rate_file):
    text = refusal(rate_file(HEADER, GERMANY, *["DE,,x,0.1,USD"] * 12))

    assert "line 3: " in text
    assert "line 12: " in text
    assert "line 13: " not in text
    assert text.endswith("; and 2 more.")


def test_a_line_is_counted_as_an_editor_counts_it(rate_file):
    two_lines = 'DE,"Ger\nmany",49,0.1,USD'

    assert "line 5: " in refusal(rate_file(HEADER, two_lines, "", "ZZ,,33,0.1,USD"))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([b""], "is empty. The first line names the columns"),
        ([b"\n\n"], "is empty. The first line names the columns"),
        ([HEADER], "has no prices"),
        (["prefix,currency", "49,USD"], "needs one column 'price_per_segment' or"),
        (["prefix,price,price_per_segment,currency"], "needs one column"),
        (["prefix,price", "49,0.1"], "needs the column 'currency'"),
        (['"not\na deck' + "x" * 200 + '"'], "It has: not a deck" + "x" * 90 + "."),
        (["name,price,currency"], "needs at least one column 'prefix' or 'country'"),
        (["prefix,price,currency,Price"], "has the column 'price' twice"),
        ([f"{HEADER}\n{GERMANY}".encode("utf-16")], "is not UTF-8"),
        ([f"{HEADER}\nRE,Réunion,262,1,USD".encode("latin-1")], "is not UTF-8"),
        ([HEADER, 'DE,"Germany,49,0.1,USD'], "is not valid CSV at line 2"),
        ([HEADER, "DE," + "x" * 200_000], "is not valid CSV at line 2"),
    ],
)
def test_a_file_that_is_no_deck_is_refused(rate_file, lines, problem):
    assert problem in refusal(rate_file(*lines))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert "cannot be read: No such file" in refusal(tmp_path / "none.csv")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"provider": "Nobody"}, "Unknown provider 'Nobody'"),
        ({"provider": "TwilioMMS"}, "TwilioMMS does not carry SMS. Those that do: "),
        ({"channel": "fax"}, "Unknown channel 'fax'. Channels are: sms, mms, email."),
        ({"channel": "email"}, "TwilioSMS does not carry Email"),
        ({"provider": "SendGridEmail", "channel": "email"}, "UNIT_PRICE"),
        ({"since": "tomorrow"}, "--valid-from 'tomorrow' is not a date"),
        ({"since": "2026-02-30"}, "--valid-from '2026-02-30' is not a date"),
    ],
)
def test_a_deck_that_would_price_nothing_is_refused(rate_file, options, problem):
    assert problem in refusal(rate_file(HEADER, GERMANY), **options)


def test_a_refused_file_leaves_the_present_deck(rate_file):
    RateFactory(price=1)

    refusal(rate_file(HEADER, GERMANY, "ZZ,,33,0.1,USD"))

    assert list(prices().values()) == [1]


@given(st.text(alphabet='19De,"\n\r.- \0\ufeffé', max_size=80))
def test_any_text_is_a_deck_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "noise.csv"
    path.write_bytes(f"prefix,price,currency\n{text}".encode())

    try:
        found = read_rate_file(path)
    except RateFileError:
        return
    assert all(0 <= money.amount < 10**6 for money in found.values())


# --- a real deck -------------------------------------------------------------------


@pytest.fixture
def real_deck():
    """The file, and its price for each country."""
    path = shared_file("data/rate_deck_sms.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return path, {row["country"]: Decimal(row["price_per_segment"]) for row in rows}


def test_a_real_deck_is_imported_whole(real_deck):
    path, by_country = real_deck

    output = run(path)

    assert "226 added, 0 changed, 0 unchanged" in output
    assert set(Rate.objects.values_list("country", flat=True)) == set(by_country)
    assert "0 added, 0 changed, 226 unchanged" in run(path)


def test_with_a_real_deck_a_number_of_each_country_has_its_price(real_deck):
    path, by_country = real_deck
    run(path)
    table = load_rate_table(provider="TwilioSMS", channel=Channel.SMS)

    found = {
        country: table.price(
            recipient=mobile_number(country), country=country, on=date(2026, 3, 1)
        )
        for country in by_country
    }

    assert len(found) == 224
    assert found == {
        country: Money(price, "USD") for country, price in by_country.items()
    }


def mobile_number(country):
    number = phonenumbers.example_number_for_type(
        country, phonenumbers.PhoneNumberType.MOBILE
    )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
