"""Media travel as URLs: the provider fetches them, we never do."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest

from messaging.factories import CampaignFactory, MessageFactory
from messaging.queue.worker import Processor
from messaging.vocabulary import WorkerKind
from routing.factories import RouteFactory
from routing.simulators.process import read_handset_log
from routing.vocabulary import Channel

URL = "https://media.example.com/boots.jpg"


class Connections:
    """The hosts that this process looks up or connects to while it is watched."""

    def __init__(self):
        self.hosts = None
        sys.addaudithook(self._hear)  # for good: Python cannot remove a hook

    def __enter__(self):
        self.hosts = set()
        return self.hosts

    def __exit__(self, *_):
        self.hosts = None

    def _hear(self, event, arguments):
        if self.hosts is None:
            return
        if event == "socket.getaddrinfo":
            self.hosts.add(arguments[0])
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            self.hosts.add(arguments[1][0])


connections = Connections()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("provider", ["TwilioMMS", "VonageMMS"])
def test_media_urls_are_never_fetched_by_us(simulator, simulator_process, provider):
    RouteFactory(
        channel=Channel.MMS,
        primary_provider=provider,
        fallback_provider="",
        enable_fallback=False,
    )
    MessageFactory(campaign=CampaignFactory(channel=Channel.MMS, media_urls=[URL]))

    with connections as hosts:
        Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()

    [entry, *_] = read_handset_log(simulator_process.handset_log)
    assert entry.message.media_urls == (URL,)
    assert hosts == {"127.0.0.1"}
