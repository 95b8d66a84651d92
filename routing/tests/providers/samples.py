"""Providers pointed at simulators or at a test's server, and sample messages.

All lists come from the settings: every provider listed there is included.
"""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

from django.conf import settings

from marketing_platform.provider_settings import provider_classes
from marketing_platform.testing.accounts import made_up_options
from routing.providers.base import OutboundMessage, Provider, WebhookRequest
from routing.providers.options import is_secret
from routing.providers.registry import registry
from routing.providers.transport.http import HttpProvider
from routing.vocabulary import Channel

CLASSES = provider_classes()
SIMULATED = [cls.__name__ for cls in CLASSES if cls.simulator]
SIMULATED_OVER_HTTP = [
    cls.__name__ for cls in CLASSES if cls.simulator and issubclass(cls, HttpProvider)
]


def aimed_at(url: str, cls: type[Provider], **options: Any) -> Provider:
    """A provider of this class that calls `url`, with or without a simulator."""
    return cls(cls.__name__, {**made_up_options(cls), "BASE_URL": url, **options})


def taken(cls: type[Provider]) -> bytes:
    """The answer by which the provider accepts a message: TAKEN of its test file."""
    name = f"routing.tests.providers.test_{cls.__module__.rpartition('.')[2]}"
    answer = getattr(import_module(name), "TAKEN", None)
    assert answer, f"{name} has no TAKEN: the answer by which {cls.__name__} accepts."
    return answer


def canaries(cls: type[Provider]) -> dict[str, str]:
    """A recognizable value for each secret that the class declares."""
    names = filter(is_secret, (option.name for option in cls.declared_options))
    return {name: f"canary-{name.lower()}" for name in names}


def build(name: str, **options: Any) -> Provider:
    """The provider of MESSAGE_PROVIDERS, with some options changed."""
    definition = settings.MESSAGE_PROVIDERS[name]
    return registry.provider_class(name)(name, {**definition["OPTIONS"], **options})


def message_for(provider: Provider, **fields: Any) -> OutboundMessage:
    """A message of the provider's channel."""
    is_email = provider.channel == Channel.EMAIL
    values: dict[str, Any] = {
        "reference": "m12a3",
        "recipient": "ada@example.com" if is_email else "+15551234567",
        "body": "Hello, Ada",
        "subject": "A word" if is_email else "",
        "media_urls": (
            ["https://example.com/a.jpg"] if provider.channel == Channel.MMS else []
        ),
    }
    return OutboundMessage(**(values | fields))


class ReceiptCatcher:
    """A web server that keeps posted requests."""

    def __init__(self) -> None:
        self.calls: queue.Queue[WebhookRequest] = queue.Queue()
        catcher = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                url = catcher.url + self.path
                catcher.calls.put(WebhookRequest(url, self.headers, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> ReceiptCatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next(self) -> WebhookRequest:
        return self.calls.get(timeout=5)
