"""The providers without a network: memory and console."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from routing.providers import console, memory
from routing.providers.base import (
    OutboundMessage,
    ReceiptsNotSupported,
    Throttled,
    WebhookRequest,
)
from routing.providers.registry import ProviderRegistry
from routing.vocabulary import Channel

MESSAGE = OutboundMessage(
    "m1a1", "+15551234567", "Hello", "Subject", ["https://e.com/a"]
)
CLASSES = [
    memory.MemorySMS,
    memory.MemoryMMS,
    memory.MemoryEmail,
    console.ConsoleSMS,
    console.ConsoleMMS,
    console.ConsoleEmail,
]


@pytest.mark.parametrize("cls", CLASSES)
def test_it_accepts_from_many_threads_and_names_each_message(cls, capsys):
    provider = cls("Local", {})

    with ThreadPoolExecutor(8) as pool:
        ids = {a.external_message_id for a in pool.map(provider.send, [MESSAGE] * 100)}

    assert len(ids) == 100
    with pytest.raises(ReceiptsNotSupported):
        provider.read_receipts(WebhookRequest("", {}, b""))
    provider.close()


@pytest.mark.parametrize("module", [memory, console])
def test_there_is_one_for_each_channel(module):
    prefix = module.__name__.rpartition(".")[2].capitalize()
    definitions = {
        name: {"BACKEND": f"{module.__name__}.{prefix}{name}"}
        for name in ("SMS", "MMS", "Email")
    }
    registry = ProviderRegistry(definitions)

    assert [registry.get(name).channel for name in definitions] == list(Channel)


def test_memory_keeps_what_it_accepts_and_fails_as_it_is_told():
    provider = memory.MemorySMS("Memory", {})
    provider.fail_with(Throttled("slowly"))

    with pytest.raises(Throttled, match="slowly"):
        provider.send(MESSAGE)
    provider.send(MESSAGE)

    assert provider.outbox == [MESSAGE]
    provider.close()
    assert provider.outbox == []


def test_console_prints_the_whole_message(capsys):
    console.ConsoleMMS("Console", {}).send(MESSAGE)

    assert capsys.readouterr().out == (
        "MMS m1a1 to +15551234567\nSubject: Subject\nMedia: https://e.com/a\n\nHello\n"
        + "-" * 72
        + "\n"
    )
