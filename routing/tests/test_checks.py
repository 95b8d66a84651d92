"""What `manage.py check` says about MESSAGE_PROVIDERS."""

from __future__ import annotations

import pytest

from routing.checks import check_credentials, check_providers, check_retry_policies

SMS = {"BACKEND": "routing.providers.memory.MemorySMS"}
TWILIO = {"BACKEND": "routing.providers.twilio.TwilioSMS"}


def test_providers_that_can_send_give_no_message(settings):
    settings.MESSAGE_PROVIDERS = {"Ours": SMS}

    assert check_providers() == check_credentials() == []


def test_no_providers_give_no_message(settings):
    settings.MESSAGE_PROVIDERS = {}

    assert check_providers() == []


def test_missing_credentials_are_a_warning_that_names_the_idle(settings):
    settings.MESSAGE_PROVIDERS = {"Ours": SMS, "Idle": TWILIO, "Lazy": TWILIO}

    (warning,) = check_credentials()

    assert warning.id == "routing.W001"
    assert warning.msg.endswith("credentials: Idle, Lazy.")


@pytest.mark.parametrize(
    "definition",
    [
        {"BACKEND": "routing.providers.nobody.Nobody"},
        {"BACKEND": "routing.providers.memory.Nobody"},
        {"BACKEND": "Nobody"},
        {},
    ],
    ids=["no module", "no class", "no dotted path", "no BACKEND"],
)
def test_a_class_that_cannot_be_loaded_is_an_error(settings, definition):
    settings.MESSAGE_PROVIDERS = {"Ours": SMS, "Broken": definition}

    (error,) = check_providers()

    assert error.id == "routing.E001"
    assert "BACKEND is the dotted path" in error.hint


@pytest.mark.parametrize("price", ["cheap", "-1", "NaN", "1e9"])
def test_a_price_that_is_none_is_an_error(settings, price):
    settings.MESSAGE_PROVIDERS = {"Ours": SMS | {"OPTIONS": {"UNIT_PRICE": price}}}

    (error,) = check_providers()

    assert error.id == "routing.E002"
    assert error.msg.startswith("Ours ")


@pytest.mark.parametrize("currency", ["", "euro", "€"])
def test_a_price_needs_the_code_of_its_currency(settings, currency):
    options = {"UNIT_PRICE": "0.01", "CURRENCY": currency}
    settings.MESSAGE_PROVIDERS = {"Ours": SMS | {"OPTIONS": options}}

    assert [error.id for error in check_providers()] == ["routing.E002"]


def test_a_retry_policy_that_is_none_is_an_error(settings):
    settings.RETRY_POLICIES = ["routing.rules.retry.no_retry", "routing.gone.policy"]

    (error,) = check_retry_policies()

    assert error.id == "routing.E003"
    assert "'routing.gone.policy' cannot be imported" in error.msg
