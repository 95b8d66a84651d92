"""What a message costs: the provider's figure, else our estimate."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.money import Money
from routing.providers.base import Acceptance
from routing.rules.costs import PriceError, contract_price, cost_of
from routing.vocabulary import Channel

ESTIMATE = Money(Decimal("0.0237"), "EUR")  # for three segments


def cost(acceptance=None, *, channel=Channel.SMS, segments=3, estimate=ESTIMATE):
    return cost_of(
        acceptance or Acceptance("SM1"),
        channel=channel,
        segments=segments,
        estimate=estimate,
    )


def said(amount, currency):
    """An acceptance with the provider's price."""
    return Acceptance("SM1", cost=Decimal(amount), currency=currency)


def test_the_providers_own_figure_comes_before_the_estimate():
    assert cost(said("0.05", "USD")) == Money(Decimal("0.05"), "USD")


def test_a_message_that_cost_nothing_has_a_cost_of_nothing():
    assert cost(said(0, "USD")) == Money(Decimal(0), "USD")


def test_without_figure_the_cost_is_as_estimated():
    assert cost() == ESTIMATE


def test_without_figure_and_estimate_the_cost_is_not_known():
    assert cost(estimate=None) is None


def test_the_providers_count_of_segments_comes_before_ours():
    assert cost(Acceptance("SM1", segments=2)).amount == Decimal("0.0158")


@pytest.mark.parametrize("channel", [Channel.MMS, Channel.EMAIL])
def test_other_channels_have_no_segments(channel):
    assert cost(Acceptance("SM1", segments=2), channel=channel) == ESTIMATE


def test_a_contract_without_currency_is_in_dollars():
    assert contract_price({"UNIT_PRICE": "1"}) == Money(Decimal(1), "USD")


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0.05", ""), ("0.05", "EURO"), ("1e9", "USD"), ("-1", "USD")],
)
def test_a_figure_that_no_ledger_could_hold_counts_as_none(amount, currency):
    assert cost(said(amount, currency), estimate=None) is None
    assert cost(said(amount, currency)) == ESTIMATE


@pytest.mark.parametrize("price", ["cheap", "NaN", "-0.1", "1000000", "0,01"])
def test_a_contract_price_that_is_no_price_is_refused(price):
    with pytest.raises(PriceError, match="UNIT_PRICE"):
        contract_price({"UNIT_PRICE": price})


@given(
    amount=st.decimals(allow_nan=True, allow_infinity=True),
    currency=st.text(max_size=4),
)
def test_whatever_a_provider_says_the_cost_fits_its_column(amount, currency):
    money = cost(Acceptance("SM1", cost=amount, currency=currency))

    assert money is None or (0 <= money.amount < 10**6 and len(money.currency) == 3)
