"""Webhook calls skip the middleware that pages need; other requests go through it."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from marketing_platform.short_way import ShortWayMiddleware

SKIPPED = HttpResponse(status=418)


@pytest.mark.parametrize(
    ("path", "is_short"),
    [
        ("/webhooks/TwilioSMS/", True),
        ("/webhooks/TwilioSMS/inbound/", True),
        ("/webhooks/TwilioSMS", False),  # Django may add the slash
        ("/webhooks/", False),
        ("/admin/", False),
        ("/unsubscribe/webhooks/TwilioSMS/", False),
    ],
)
def test_only_a_webhook_takes_the_short_way(path, is_short):
    middleware = ShortWayMiddleware(lambda _: SKIPPED)

    answer = middleware(RequestFactory().get(path))

    assert (answer is not SKIPPED) == is_short
    assert answer.status_code == (405 if is_short else 418)
