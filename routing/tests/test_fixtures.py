"""The routes that a new installation starts with."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from routing.decision.planner import active_routes
from routing.factories import RouteFactory
from routing.models import ChannelRoutingConfig
from routing.providers.registry import registry
from routing.vocabulary import Channel, RetryStrategy, RoutingStrategy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def default_routes(db):
    call_command("loaddata", "default_routes", verbosity=0)


def test_every_channel_has_exactly_one_active_route():
    channels = [config.channel for config in ChannelRoutingConfig.objects.active()]

    assert channels == list(Channel)
    assert [route.channel for route in active_routes()] == list(Channel)


def test_every_route_passes_its_own_validation():
    for config in ChannelRoutingConfig.objects.all():
        config.full_clean()


def test_every_route_names_two_providers_of_its_channel():
    for route in active_routes():
        assert len(set(route.providers) & set(registry.names(route.channel))) == 2


def test_the_sms_route_is_the_documented_one():
    sms = ChannelRoutingConfig.objects.get(channel=Channel.SMS)

    assert sms.providers == ("TwilioSMS", "VonageSMS")
    assert sms.routing_strategy == RoutingStrategy.PRIMARY
    assert sms.retry_strategy == RetryStrategy.EXPONENTIAL
    assert (sms.enable_fallback, sms.max_retries, sms.priority) == (True, 3, 0)
    assert sms.initial_retry_delay_seconds == 60
    assert sms.max_retry_delay_seconds == 3600


def test_loading_them_twice_changes_nothing():
    before = list(ChannelRoutingConfig.objects.values())

    call_command("loaddata", "default_routes", verbosity=0)

    assert list(ChannelRoutingConfig.objects.values()) == before


@pytest.mark.parametrize(
    "edit",
    [
        {"primary_provider": "VonageSMS", "fallback_provider": "TwilioSMS"},
        {"is_active": False},
        {"priority": 7, "max_retries": 0},
        {"maximum_cost": "0.05", "currency": "EUR"},
    ],
)
def test_a_route_that_was_edited_stays_as_it_is(edit, capsys):
    sms = ChannelRoutingConfig.objects.filter(channel=Channel.SMS)
    sms.update(**edit)
    before = list(ChannelRoutingConfig.objects.values())

    call_command("loaddata", "default_routes")

    assert list(ChannelRoutingConfig.objects.values()) == before
    assert "(SMS by " in capsys.readouterr().out


def test_routes_of_ones_own_keep_their_numbers_and_get_only_what_is_missing():
    ChannelRoutingConfig.objects.all().delete()
    own = [
        RouteFactory(pk=1, channel=Channel.EMAIL, primary_provider="SMTPEmail"),
        RouteFactory(pk=2, country="DE"),
        RouteFactory(pk=3, priority=9),
    ]
    mine = ChannelRoutingConfig.objects.filter(pk__in=[route.pk for route in own])
    before = list(mine.values())

    call_command("loaddata", "default_routes", verbosity=0)

    added = ChannelRoutingConfig.objects.exclude(pk__in=[1, 2, 3])
    assert list(mine.values()) == before
    assert [route.channel for route in added] == [Channel.MMS]


def test_a_backup_is_restored_with_its_numbers(tmp_path):
    backup = tmp_path / "backup.json"
    before = list(ChannelRoutingConfig.objects.values())
    call_command("dumpdata", "routing.channelroutingconfig", output=str(backup))
    ChannelRoutingConfig.objects.update(is_active=False)

    call_command("loaddata", str(backup), verbosity=0)

    assert list(ChannelRoutingConfig.objects.values()) == before


def test_a_route_that_is_added_afterwards_serves_instead():
    route = RouteFactory()

    assert active_routes()[0].config_id == route.pk
