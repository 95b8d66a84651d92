"""A deck's price for a destination, and how readers follow its changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from routing.factories import RateFactory
from routing.models import Rate
from routing.money import Money
from routing.prices.rate_decks import RateBook, load_rate_table
from routing.rules.costs import RateRow, RateTable, estimate
from routing.vocabulary import Channel

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


def usd(amount):
    return Money(Decimal(amount), "USD")


def row(prefix, country, price, *, since=DAY, currency="USD"):
    return RateRow(prefix, country, Money(Decimal(price), currency), since)


def price(rows, recipient, country="", on=DAY):
    return RateTable(rows).price(recipient=recipient, country=country, on=on)


# --- which row prices a recipient --------------------------------------------------


def test_the_longest_prefix_gives_the_price():
    rows = [row("49", "DE", 3), row("4915", "DE", 2), row("491512", "DE", 1)]

    assert price(rows, "+4915123456789", "DE") == usd(1)
    assert price(rows, "+4915223456789", "DE") == usd(2)
    assert price(rows, "+4930123456", "DE") == usd(3)


def test_of_the_rows_of_a_prefix_the_recipients_country_counts():
    rows = [row("44", "GB", 1), row("44", "JE", 2), row("44", "", 3)]

    assert price(rows, "+447700900123", "GB") == usd(1)
    assert price(rows, "+447797712345", "JE") == usd(2)
    assert price(rows, "+447624123456", "IM") == usd(3)


def test_a_prefix_of_another_country_comes_after_the_countrys_own_price():
    rows = [row("1", "US", "0.0075"), row("18001", "DO", "0.057")]

    assert price(rows, "+18092345678", "DO") == usd("0.057")


def test_a_country_row_prices_what_no_prefix_does():
    rows = [row("", "DE", 2), row("4915", "DE", 1)]

    assert price(rows, "+4930123456", "DE") == usd(2)


def test_a_prefix_of_another_country_is_better_than_nothing():
    assert price([row("262", "RE", 1)], "+262639123456", "YT") == usd(1)


def test_a_row_of_another_country_hides_no_row_of_the_recipients():
    rows = [row("44", "GB", 1), row("4477", "GG", 2)]

    assert price(rows, "+447700900123", "GB") == usd(1)


def test_without_a_country_the_longest_prefix_of_any_counts():
    assert price([row("7", "RU", 1), row("77", "KZ", 2)], "+77710009998") == usd(2)


def test_where_the_deck_leaves_a_choice_the_dearest_price_counts():
    rows = [row("44", "GB", 1), row("44", "GG", 3), row("44", "JE", 2)]

    assert price(rows, "+447624123456", "IM") == usd(3)
    assert price(rows, "+447624123456") == usd(3)


def test_prices_in_several_currencies_leave_no_choice():
    rows = [row("44", "GB", 1), row("44", "GG", 3, currency="EUR")]

    assert price(rows, "+447624123456") is None


@pytest.mark.parametrize("recipient", ["+4612345678", "49@example.com", "+", ""])
def test_what_the_deck_does_not_know_has_no_price(recipient):
    assert price([row("49", "DE", 1), row("", "FR", 1)], recipient, "SE") is None


def test_an_empty_deck_knows_no_price():
    assert price([], "+4915123456789", "DE") is None


def test_a_price_holds_from_its_day_until_the_next_one():
    rows = [row("49", "DE", 2, since=date(2026, 4, 1)), row("49", "DE", 1)]

    assert price(rows, "+4930123456", "DE", on=DAY - timedelta(1)) is None
    assert price(rows, "+4930123456", "DE", on=DAY) == usd(1)
    assert price(rows, "+4930123456", "DE", on=date(2026, 3, 31)) == usd(1)
    assert price(rows, "+4930123456", "DE", on=date(2026, 4, 1)) == usd(2)


def test_a_longer_prefix_does_not_count_before_its_day():
    rows = [row("49", "DE", 1), row("4915", "DE", 2, since=date(2026, 4, 1))]

    assert price(rows, "+4915123456789", "DE") == usd(1)


# --- against an oracle -------------------------------------------------------------

prefixes = st.text("12", max_size=4)
countries = st.sampled_from(["", "AA", "BB"])
days = st.dates(date(2026, 1, 1), date(2026, 1, 4))
rate_rows = st.builds(
    RateRow,
    prefixes,
    countries,
    st.builds(Money, st.decimals(0, 3, places=0), st.sampled_from(["USD", "EUR"])),
    days,
).filter(lambda row: row.dial_prefix or row.country)
decks = st.lists(
    rate_rows,
    max_size=12,
    unique_by=lambda row: (row.dial_prefix, row.country, row.valid_from),
)


def naive_price(rows, digits, country, on):
    """The rules of RateTable, one list after the other."""
    held = [
        row
        for row in rows
        if row.valid_from <= on
        and not any(
            (other.dial_prefix, other.country) == (row.dial_prefix, row.country)
            and row.valid_from < other.valid_from <= on
            for other in rows
        )
    ]
    matching = [row for row in held if row.dial_prefix and is_of(row, digits)]
    friendly = [row for row in matching if "" in {row.country, country}]
    friendly += [row for row in matching if country and row.country == country]
    longest = [row for row in friendly if len(row.dial_prefix) == reach(friendly)]
    national = [row for row in held if country and row.country == country]
    choices = [
        [row for row in longest if row.country == country],
        [row for row in longest if not row.country],
        longest,
        [row for row in national if not row.dial_prefix],
        national,
        [row for row in matching if len(row.dial_prefix) == reach(matching)],
    ]
    best = next(filter(None, choices), [])
    if len({row.price.currency for row in best}) != 1:
        return None
    return max((row.price for row in best), key=lambda money: money.amount)


def is_of(row, digits):
    return digits.startswith(row.dial_prefix)


def reach(rows):
    return max(len(row.dial_prefix) for row in rows)


@given(
    rows=decks, digits=st.text("12", min_size=1, max_size=6), country=countries, on=days
)
def test_the_table_agrees_with_a_search_through_all_rows(rows, digits, country, on):
    found = price(rows, f"+{digits}", country, on)

    assert found == naive_price(rows, digits, country, on)


@given(rows=decks, country=countries, questions=st.lists(days, max_size=4))
def test_a_table_gives_the_same_answer_to_the_same_question(rows, country, questions):
    table = RateTable(rows)

    for on in [*questions, *questions]:
        answer = table.price(recipient="+1212", country=country, on=on)
        assert answer == price(rows, "+1212", country, on)


# --- the estimate ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "expected"), [(Channel.SMS, "0.03"), (Channel.MMS, "0.01")]
)
def test_only_an_sms_is_paid_by_the_segment(channel, expected):
    cost = estimate(usd("0.01"), channel=channel, segments=3, options={})

    assert cost == usd(expected)


def test_the_deck_comes_before_the_contract_price():
    options = {"UNIT_PRICE": "0.5", "CURRENCY": "EUR"}

    def cost(rate):
        return estimate(rate, channel=Channel.SMS, segments=2, options=options)

    assert cost(usd(0)) == usd(0)
    assert cost(None) == Money(Decimal(1), "EUR")


def test_without_deck_and_contract_the_cost_is_not_known():
    assert estimate(None, channel=Channel.SMS, segments=1, options={}) is None


# --- the rows ----------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"dial_prefix": "", "country": ""},
        {"dial_prefix": "+49"},
        {"dial_prefix": "049"},
        {"country": "de"},
        {"price": Decimal("-0.01")},
        {"currency": ""},
        {"currency": "usd"},
    ],
)
def test_the_database_refuses_a_rate_that_could_price_nothing(fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        RateFactory(**fields)


@pytest.mark.django_db
def test_a_deck_has_one_price_for_a_destination_and_day():
    RateFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        RateFactory(price=1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"country": "ZZ"}, "country"),
        ({"dial_prefix": "x"}, "dial_prefix"),
        ({"provider": "Nobody"}, "provider"),
        ({"provider": "TwilioMMS"}, "provider"),
        ({"provider": "SendGridEmail", "channel": Channel.EMAIL}, "provider"),
        ({"channel": 9}, "channel"),
    ],
)
def test_the_form_says_which_field_is_wrong(fields, field):
    with pytest.raises(ValidationError) as caught:
        RateFactory.build(**fields).full_clean()

    assert field in caught.value.message_dict


@pytest.mark.django_db
def test_a_rate_in_order_is_clean():
    rate = RateFactory.build()

    rate.full_clean()

    assert str(rate) == "TwilioSMS to 49 DE from 2026-01-01"


@pytest.mark.django_db
def test_the_back_office_adds_and_finds_a_rate(admin_client):
    form = {
        "provider": "TwilioSMS",
        "channel": 0,
        "dial_prefix": "4479",
        "country": "GB",
        "price": "0.04",
        "currency": "USD",
        "valid_from": "2026-03-01",
    }

    added = admin_client.post("/admin/routing/rate/add/", form)

    assert added.status_code == 302, added.context["errors"]
    found = admin_client.get("/admin/routing/rate/", {"q": "447"})
    assert found.context["cl"].result_count == 1
    page = admin_client.get(f"/admin/routing/rate/{Rate.objects.get().pk}/change/")
    assert b"0.040000" in page.content


# --- reading decks -----------------------------------------------------------------


def german(table):
    return table.price(recipient="+4915123456789", country="DE", on=DAY)


@pytest.mark.django_db
def test_a_table_holds_one_deck():
    RateFactory(price="0.1")
    RateFactory(price="0.2", provider="VonageSMS")
    RateFactory(price="0.3", channel=Channel.MMS)

    table = load_rate_table(provider="TwilioSMS", channel=Channel.SMS)

    assert german(table) == usd("0.1")


class TestRateBook:
    """Uses the database; time passes as the test says."""

    pytestmark = pytest.mark.django_db

    @pytest.fixture
    def book(self):
        return RateBook(max_age=timedelta(seconds=60))

    def table(self, book, *, after=0):
        now = NOW + timedelta(seconds=after)
        return book.table(provider="TwilioSMS", channel=Channel.SMS, now=now)

    def test_a_young_deck_is_given_without_a_look(
        self, book, django_assert_num_queries
    ):
        table = self.table(book)

        with django_assert_num_queries(0):
            assert self.table(book, after=59) is table

    def test_an_old_deck_that_did_not_change_is_not_read_again(
        self, book, django_assert_num_queries
    ):
        RateFactory()
        table = self.table(book)

        with django_assert_num_queries(1):
            assert self.table(book, after=60) is table
        with django_assert_num_queries(0):
            self.table(book, after=119)

    def test_a_price_that_is_added_is_seen(self, book):
        assert german(self.table(book)) is None
        RateFactory()

        assert german(self.table(book, after=60)) == usd("0.085")

    def test_a_price_that_is_edited_is_seen(self, book):
        rate = RateFactory()
        self.table(book)
        rate.price = 1
        rate.save()

        assert german(self.table(book, after=60)) == usd(1)

    def test_a_price_that_is_taken_away_is_seen(self, book):
        rate = RateFactory()
        assert german(self.table(book)) == usd("0.085")
        rate.delete()

        assert german(self.table(book, after=60)) is None

    def test_an_edit_by_a_host_whose_clock_is_behind_is_seen(self, book):
        RateFactory()
        self.table(book)
        Rate.objects.update(price=1)

        assert german(self.table(book, after=60)) == usd(1)
