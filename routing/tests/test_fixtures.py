"""The routes that a new installation starts with."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from routing.factories import RouteFactory
from routing.models import ChannelRoutingConfig
from routing.planner import active_routes
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


def test_a_route_that_is_added_afterwards_serves_instead():
    route = RouteFactory()

    assert active_routes()[0].config_id == route.pk
