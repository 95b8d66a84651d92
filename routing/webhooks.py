"""Where providers post their receipts: verify, store, answer."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from routing.providers.base import (
    ForgedReceipt,
    MalformedReceipt,
    Provider,
    ReceiptsNotSupported,
    WebhookRequest,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.receipts import record_receipts

logger = logging.getLogger(__name__)


@csrf_exempt  # a provider's signature is checked instead
@require_POST
def receive_receipts(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Take a provider's webhook call: 403 when forged, 400 when malformed."""
    provider = _provider(provider_name)
    try:
        call = _webhook_request(request)
        receipts = provider.read_receipts(call)
    except RequestDataTooBig:
        return HttpResponse("Too large.", status=413, content_type="text/plain")
    except ForgedReceipt:
        logger.warning("A receipt for %s had no valid signature.", provider_name)
        return HttpResponse("Forged.", status=403, content_type="text/plain")
    except MalformedReceipt as error:
        logger.warning("A receipt of %s is malformed: %s", provider_name, error)
        return HttpResponse("Malformed.", status=400, content_type="text/plain")
    except ReceiptsNotSupported:
        raise Http404 from None
    record_receipts(
        provider_name=provider_name,
        receipts=receipts,
        raw=call.body.decode(errors="replace"),
        now=timezone.now(),
    )
    return HttpResponse(status=204)


def _provider(name: str) -> Provider:
    try:
        return registry.get(name)
    except (UnknownProvider, ProviderNotConfigured):
        raise Http404 from None


def _webhook_request(request: HttpRequest) -> WebhookRequest:
    """The call as the provider made it: signatures cover the public URL."""
    return WebhookRequest(
        url=f"{settings.PUBLIC_URL}{request.get_full_path()}",
        headers=request.headers,
        body=request.body,
    )
