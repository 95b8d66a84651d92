"""Where providers post receipts and inbound messages: verify, store, answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from routing.inbound import record_inbound
from routing.providers.base import (
    ForgedReceipt,
    InboundNotSupported,
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
from routing.vocabulary import Keyword

logger = logging.getLogger(__name__)


# What is done with a call once its provider is known.
Taker = Callable[[Provider, WebhookRequest], HttpResponse]


@csrf_exempt  # a provider's signature is checked instead
@require_POST
def receive_receipts(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Take what a provider says about our messages."""
    return _received(request, provider_name, _take_receipts)


@csrf_exempt  # as above
@require_POST
def receive_inbound(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Take what a handset wrote to one of our numbers."""
    return _received(request, provider_name, _take_inbound)


def _received(request: HttpRequest, provider_name: str, take: Taker) -> HttpResponse:
    """The answer to a webhook call: 403 when forged, 400 when malformed."""
    provider = _provider(provider_name)
    try:
        return take(provider, _webhook_request(request))
    except RequestDataTooBig:
        return HttpResponse("Too large.", status=413, content_type="text/plain")
    except ForgedReceipt:
        logger.warning("A call of %s had no valid signature.", provider_name)
        return HttpResponse("Forged.", status=403, content_type="text/plain")
    except MalformedReceipt as error:
        logger.warning("A call of %s is malformed: %s", provider_name, error)
        return HttpResponse("Malformed.", status=400, content_type="text/plain")
    except (ReceiptsNotSupported, InboundNotSupported):
        raise Http404 from None


def _take_receipts(provider: Provider, call: WebhookRequest) -> HttpResponse:
    record_receipts(
        provider_name=provider.name,
        receipts=provider.read_receipts(call),
        raw=call.body.decode(errors="replace"),
        now=timezone.now(),
    )
    return HttpResponse(status=204)


def _take_inbound(provider: Provider, call: WebhookRequest) -> HttpResponse:
    """HELP is answered here, unless its provider has done so by itself."""
    inbound = provider.read_inbound(call)
    row = record_inbound(
        provider_name=provider.name,
        inbound=inbound,
        raw=call.body.decode(errors="replace"),
        now=timezone.now(),
    )
    wants_help = row.keyword == Keyword.HELP and inbound.keyword is None
    reply = settings.INBOUND_HELP_TEXT if wants_help else ""
    if reply and (answer := provider.inbound_answer(reply)):
        return HttpResponse(answer, content_type="text/xml")
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
