"""The providers of MESSAGE_PROVIDERS, each built once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from marketing_platform.environment import Environment
from marketing_platform.provider_settings import (
    message_providers,
    provider_classes,
)
from marketing_platform.testing.installation import NOWHERE
from routing.providers.base import Provider
from routing.providers.memory import MemoryEmail, MemorySMS
from routing.providers.registry import (
    ProviderNotConfigured,
    ProviderRegistry,
    UnknownProvider,
    registry,
)
from routing.vocabulary import Channel

SMS = {"BACKEND": "routing.providers.memory.MemorySMS", "OPTIONS": {"FROM": "1"}}
EMAIL = {"BACKEND": "routing.providers.memory.MemoryEmail"}
TWILIO = {"BACKEND": "routing.providers.twilio.TwilioSMS"}


def test_a_provider_gets_its_name_and_its_options():
    provider = ProviderRegistry({"Ours": SMS}).get("Ours")

    assert type(provider) is MemorySMS
    assert (provider.name, provider.options) == ("Ours", {"FROM": "1"})


def test_a_provider_is_built_once_however_many_threads_ask():
    providers = ProviderRegistry({"Ours": SMS})

    with ThreadPoolExecutor(8) as pool:
        built = set(pool.map(providers.get, ["Ours"] * 100))

    assert len(built) == 1


def test_one_class_may_serve_under_two_names():
    providers = ProviderRegistry({"Ours": SMS, "Theirs": SMS})

    assert providers.get("Ours") is not providers.get("Theirs")


def test_names_come_as_configured_for_all_channels_or_for_one():
    providers = ProviderRegistry({"Mail": EMAIL, "B": SMS, "A": SMS})

    assert providers.names() == ["Mail", "B", "A"]
    assert providers.names(Channel.SMS) == ["B", "A"]
    assert providers.names(Channel.MMS) == []


def test_an_unknown_name_is_answered_with_the_names_there_are():
    providers = ProviderRegistry({"Ours": SMS, "Mail": EMAIL})

    with pytest.raises(UnknownProvider, match=r"'Nobody'.* has: Ours, Mail\."):
        providers.get("Nobody")


def test_a_provider_without_credentials_says_which_and_where_they_belong():
    providers = ProviderRegistry({"Ours": TWILIO | {"OPTIONS": {"FROM": "1"}}})

    with pytest.raises(ProviderNotConfigured) as caught:
        providers.get("Ours")

    assert "lacks ACCOUNT_SID, AUTH_TOKEN (set" in str(caught.value)
    assert "docs/providers.md" in str(caught.value)


@pytest.mark.parametrize("cls", provider_classes(), ids=lambda cls: cls.__name__)
def test_a_problem_names_the_environment_variables_that_mend_it(cls):
    name = cls.__name__
    missing = [option.variable for option in cls(name, {}).missing_options()]

    def providers():
        definitions = message_providers(Environment(), public_url=NOWHERE)
        return ProviderRegistry(definitions)

    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PROVIDER_SIMULATOR_PORT", *missing):
            patch.delenv(variable, raising=False)
        problem = providers().problem_with(name)
        _, _, named = problem.partition("(set ")
        variables = named.partition(";")[0].split(", ")
        for variable in variables:
            patch.setenv(variable, "x")

        assert variables == missing
        assert providers().problem_with(name) == ""


def test_a_problem_is_one_line_and_no_problem_is_none():
    providers = ProviderRegistry({"Ours": SMS, "Idle": TWILIO})

    assert providers.problem_with("Ours") == ""
    assert providers.problem_with("Idle").startswith("Idle is not configured")
    assert providers.problem_with("Nobody").startswith("Unknown provider 'Nobody'")


def test_closing_closes_what_was_built_and_builds_anew_when_asked_again():
    class Closing(Provider):
        is_open = True

        def close(self) -> None:
            self.is_open = False

    providers = ProviderRegistry({"Ours": SMS})
    old = providers._built["Ours"] = Closing("Ours", {})

    providers.close()

    assert not old.is_open
    assert type(providers.get("Ours")) is MemorySMS


def test_the_registry_follows_a_change_of_the_settings(settings):
    settings.MESSAGE_PROVIDERS = {"Ours": SMS}
    assert type(registry.get("Ours")) is MemorySMS

    settings.MESSAGE_PROVIDERS = {"Ours": EMAIL}

    assert type(registry.get("Ours")) is MemoryEmail
    assert registry.names(Channel.SMS) == []
