"""Providers pointed at the simulators, messages that they accept, and two servers."""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import settings

from routing.providers.base import OutboundMessage, Provider, WebhookRequest
from routing.providers.registry import registry
from routing.vocabulary import Channel

HTTP_PROVIDERS = ["TwilioSMS", "TwilioMMS", "VonageSMS", "VonageMMS", "SendGridEmail"]
PROVIDERS = [*HTTP_PROVIDERS, "SMTPEmail"]


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
    """A web server that keeps what is posted to it."""

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
