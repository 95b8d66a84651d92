"""Where providers post receipts and inbound messages: verify, store, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from routing.providers.base import (
    ForgedReceipt,
    InboundNotSupported,
    MalformedReceipt,
    Provider,
    Receipt,
    ReceiptsNotSupported,
    WebhookRequest,
)
from routing.providers.registry import (
    ProviderNotConfigured,
    UnknownProvider,
    registry,
)
from routing.receipts.inbound import record_inbound
from routing.receipts.inbox import event_id_of, store
from routing.receipts.webhook_counts import counter
from routing.signals import receipts_stored
from routing.vocabulary import Keyword, WebhookOutcome

# What is done with a call once its provider is known.
Taker = Callable[[Provider, WebhookRequest], HttpResponse]
# A refused call: what it is counted as, and how it is answered.
REFUSALS = {
    WebhookOutcome.FORGED: (403, "Forged."),
    WebhookOutcome.MALFORMED: (400, "Malformed."),
    WebhookOutcome.TOO_LARGE: (413, "Too large."),
    WebhookOutcome.UNKNOWN_PROVIDER: (404, "Not found."),
    WebhookOutcome.WRONG_METHOD: (405, "Post it."),
}
# What ends a call, and what it is counted as then.
OUTCOMES: dict[type[Exception], WebhookOutcome] = {
    RequestDataTooBig: WebhookOutcome.TOO_LARGE,
    ForgedReceipt: WebhookOutcome.FORGED,
    MalformedReceipt: WebhookOutcome.MALFORMED,
    UnknownProvider: WebhookOutcome.UNKNOWN_PROVIDER,
    ProviderNotConfigured: WebhookOutcome.UNKNOWN_PROVIDER,
    ReceiptsNotSupported: WebhookOutcome.UNKNOWN_PROVIDER,
    InboundNotSupported: WebhookOutcome.UNKNOWN_PROVIDER,
}
REFUSED = tuple(OUTCOMES)


class Answer(HttpResponse):
    """An answer to a webhook call that says what it is to be counted as."""

    outcome = WebhookOutcome.ACCEPTED
    detail = ""
    # Django would log each that is refused; the counter does so now and then.
    _has_been_logged = True


class CountWebhookCalls:
    """Counts every call of a webhook, also one that never gets there: sent to HTTPS,
    refused for its host name, or met by an error of ours.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._root = webhooks_root()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self._get_response(request)
        if request.path_info.startswith(self._root):
            name = request.path_info.removeprefix(self._root).partition("/")[0]
            _count(name, answer)
        return answer


def webhooks_root() -> str:
    """The path of all webhooks. For the start of a process: within a request, the
    prefix that it was called by would be in it.
    """
    return reverse("receipts", args=["-"]).removesuffix("-/")


def _count(name: str, answer: HttpResponse) -> None:
    is_known = name in registry.names()
    if isinstance(answer, Answer):
        outcome, detail = answer.outcome, answer.detail
    else:
        outcome = _by_status(answer.status_code)
        detail = f"It was answered with the status {answer.status_code}."
    counter.count(
        name if is_known else "",
        outcome,
        detail=detail if is_known else f"It was for {name[:100]}.",
        now=timezone.now(),
    )


def _by_status(status: int) -> WebhookOutcome:
    if status >= 500:
        return WebhookOutcome.FAILED
    if status == 404:
        return WebhookOutcome.UNKNOWN_PROVIDER
    return WebhookOutcome.TURNED_AWAY


@csrf_exempt  # a provider's signature is checked instead
def receive_receipts(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Take what a provider says about our messages."""
    return _received(request, provider_name, _take_receipts)


@csrf_exempt  # as above
def receive_inbound(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Take what a handset wrote to one of our numbers."""
    return _received(request, provider_name, _take_inbound)


def _received(request: HttpRequest, provider_name: str, take: Taker) -> HttpResponse:
    """The answer to a webhook call: 403 when forged, 400 when malformed."""
    if request.method != "POST":
        answer = _refused(WebhookOutcome.WRONG_METHOD, f"It was a {request.method}.")
        answer["Allow"] = "POST"
        return answer
    try:
        return take(registry.get(provider_name), _webhook_request(request))
    except REFUSED as error:
        return _refused(OUTCOMES[type(error)], str(error))


def _refused(outcome: WebhookOutcome, detail: str) -> Answer:
    status, text = REFUSALS[outcome]
    answer = Answer(text, status=status, content_type="text/plain")
    answer.outcome, answer.detail = outcome, detail
    return answer


def take_plain_receipts(provider_name: str, call: WebhookRequest) -> bool:
    """Take and count receipts of which nothing must hold before the answer.

    False, and nothing is done, if something must, or if no provider has this name.
    Nothing is stored either if an exception is raised.
    """
    if provider_name not in registry.names():
        return False
    provider, now = registry.get(provider_name), timezone.now()
    receipts = provider.read_receipts(call)
    if any(each.is_urgent for each in receipts):
        return False
    _store(provider, receipts, call, now)
    counter.count(provider_name, WebhookOutcome.ACCEPTED, now=now)
    return True


def _take_receipts(provider: Provider, call: WebhookRequest) -> HttpResponse:
    """Store them and answer: workers apply them (`messaging.queue.receipts`)."""
    _store(provider, provider.read_receipts(call), call, timezone.now())
    return Answer(status=204)


def _store(
    provider: Provider, receipts: Sequence[Receipt], call: WebhookRequest, now: datetime
) -> None:
    raw = call.body.decode(errors="replace")
    store(provider_name=provider.name, receipts=receipts, raw=raw, now=now)
    urgent = [event_id_of(each) for each in receipts if each.is_urgent]
    receipts_stored.send(None, provider=provider.name, urgent=urgent, now=now)


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
    xml = provider.inbound_answer(reply) if reply else ""
    answer = Answer(xml, content_type="text/xml") if xml else Answer(status=204)
    answer.outcome = WebhookOutcome.INBOUND
    return answer


def _webhook_request(request: HttpRequest) -> WebhookRequest:
    """The call as the provider made it: signatures cover the public URL."""
    return WebhookRequest(
        url=f"{settings.PUBLIC_URL}{request.get_full_path()}",
        headers=request.headers,
        body=request.body,
    )
