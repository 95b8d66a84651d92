"""What happened: attempts to send and what providers reported. Read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from routing.admin.bases import (
    ExactSearch,
    ProviderFilter,
    ReadOnlyAdmin,
    RecentFilter,
    bulleted,
    clipped,
    ids_in,
)
from routing.models import (
    DeliveryQuality,
    DeliveryReceipt,
    MessageDeliveryAttempt,
    WaitingReceipt,
    WebhookCount,
)
from routing.money import Money
from routing.providers.registry import registry
from routing.receipts.inbox import take_back
from routing.signals import report

FOUND_AT_MOST = 1000  # messages with the same provider's id; usually one


def ids_of_messages(term: str) -> list[int]:
    """Messages that this is the id of, ours or their provider's."""
    found = attempts_by(term).values_list("message_id", flat=True)
    return [*ids_in(term), *found[:FOUND_AT_MOST]]


def attempts_by(external_id: str) -> QuerySet[MessageDeliveryAttempt]:
    """Those to which a provider gave this id."""
    found = MessageDeliveryAttempt.objects.filter(
        provider__in=_known_providers(), external_message_id=external_id
    )
    # The index leaves out blank ids, and is used only by queries that do.
    return found.exclude(external_message_id="").order_by()


def _known_providers() -> list[str]:
    """Those of MESSAGE_PROVIDERS, and former ones with receipts."""
    former = DeliveryQuality.objects.order_by().values_list("provider", flat=True)
    return list({*registry.names(), *former.distinct()})


class EvidenceAdmin(ExactSearch, ReadOnlyAdmin):
    """Rows about a message, with a link to it."""

    search_fields = ["message", "external_message_id"]
    search_help_text = "The number of a message, or the provider's id for it"
    ordering = ["-id"]

    def found_by(self, term: str) -> Q:
        """Those of the message."""
        return Q(message__in=ids_of_messages(term))

    @admin.display(description="message", ordering="message_id")
    def message_link(self, row: MessageDeliveryAttempt | DeliveryReceipt) -> str:
        """A link to the message; blank if it is unknown."""
        if row.message_id is None:
            return ""
        of = row._meta.get_field("message").related_model._meta
        page = f"admin:{of.app_label}_{of.model_name}_change"
        address = reverse(page, args=[row.message_id])
        return format_html('<a href="{}">{}</a>', address, row.message_id)

    @admin.display(description="no.")
    def number(self, row: MessageDeliveryAttempt | DeliveryReceipt) -> int | None:
        """Which attempt of the message."""
        return row.attempt_number

    @admin.display(description="cost")
    def price(self, row: MessageDeliveryAttempt | DeliveryReceipt) -> str:
        """With its currency, without zeros that say nothing."""
        if row.cost is None:
            return self.get_empty_value_display()
        return str(Money(row.cost, row.currency))


@admin.register(MessageDeliveryAttempt)
class AttemptAdmin(EvidenceAdmin):
    fields = (
        *("message", "attempt_number", "channel", "provider", "attempted_at"),
        *("outcome", "external_message_id", "error_class", "error_code"),
        *("error_message", "price", "response_time_ms", "fallback_reason"),
        *("is_retry", "is_late", "why_this_provider"),
    )
    list_display = [
        "attempted_at",
        "message_link",
        "number",
        "provider",
        "outcome",
        "error",
        "fallback",
        "price",
        "milliseconds",
    ]
    list_filter = [
        RecentFilter,
        "channel",
        ProviderFilter,
        "outcome",
        "error_class",
        "fallback_reason",
        "is_late",
    ]

    @admin.display(description="why this provider")
    def why_this_provider(self, attempt: MessageDeliveryAttempt) -> str:
        """The decision behind it: the strategy, and the verdict on each provider."""
        decision = attempt.decision
        return format_html(
            "Strategy: {}<ul>{}</ul>",
            decision.get("strategy", "recovered"),
            format_html_join(
                "",
                "<li>{}: {}</li>",
                (
                    (each["provider"], each["verdict"])
                    for each in decision.get("candidates", [])
                ),
            ),
        )

    @admin.display(description="error")
    def error(self, attempt: MessageDeliveryAttempt) -> str:
        """Its kind, code and text."""
        if attempt.error_class is None:
            return ""
        what = f"{attempt.get_error_class_display()} {attempt.error_code}".strip()
        return clipped(": ".join(filter(None, [what, attempt.error_message])), 60)

    @admin.display(description="fallback")
    def fallback(self, attempt: MessageDeliveryAttempt) -> str:
        """Why it went to a provider other than the first choice."""
        if attempt.fallback_reason is None:
            return ""
        return clipped(attempt.get_fallback_reason_display(), 40)

    @admin.display(description="ms")
    def milliseconds(self, attempt: MessageDeliveryAttempt) -> int | None:
        """How long the provider took to answer."""
        return attempt.response_time_ms


class ReceivedFilter(RecentFilter):
    of = "received_at"


@admin.register(DeliveryReceipt)
class ReceiptAdmin(EvidenceAdmin):
    list_display = [
        "received_at",
        "message_link",
        "number",
        "provider",
        "said",
        "status",
        "error_code",
        "occurred_at",
    ]
    list_filter = [ReceivedFilter, ProviderFilter, "status"]

    def found_by(self, term: str) -> Q:
        """Also those of messages that are not ours, by the provider's id."""
        return super().found_by(term) | Q(message=None, external_message_id=term)

    fields = (
        *("provider", "event_id", "message", "attempt_number", "external_message_id"),
        *("status", "provider_status", "error_class", "error_code", "error_message"),
        *("price", "occurred_at", "received_at", "raw"),
    )

    @admin.display(description="provider's status")
    def said(self, receipt: DeliveryReceipt) -> str:
        """The status in the provider's words."""
        return clipped(receipt.provider_status, 20)


class SetAsideFilter(admin.SimpleListFilter):
    title = "waiting for"
    parameter_name = "set_aside"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [("no", "a worker"), ("yes", "a person (set aside)")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[WaitingReceipt]
    ) -> QuerySet[WaitingReceipt]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(set_aside_at__isnull=self.value() == "no")


@admin.register(WaitingReceipt)
class WaitingReceiptAdmin(ReadOnlyAdmin):
    """Mostly empty: rows that stay are set aside, or no worker is running."""

    list_display = ["received_at", "provider", "event_id", "set_aside_at", "problem"]
    list_filter = [SetAsideFilter, ProviderFilter]
    fields = (
        *("provider", "event_id", "received_at", "set_aside_at", "problem"),
        *("read_as", "raw"),
    )
    ordering = ["-id"]
    actions = ["apply_again"]

    @admin.display(description="read as")
    def read_as(self, row: WaitingReceipt) -> str:
        """What its provider's adapter made of it, without what it left blank."""
        known = {name: value for name, value in row.receipt.items() if value}
        return bulleted(f"{name}: {value}" for name, value in known.items())

    def has_apply_permission(self, request: HttpRequest) -> bool:
        """Users who may change rows of this table, although no form does."""
        user = request.user
        return user.is_active and user.has_perm("routing.change_waitingreceipt")

    @admin.action(
        description="Apply selected receipts again (if set aside)",
        permissions=["apply"],
    )
    def apply_again(
        self, request: HttpRequest, queryset: QuerySet[WaitingReceipt]
    ) -> None:
        """Let workers try them again at once."""
        ids = list(queryset.values_list("pk", flat=True))
        count = take_back(ids)
        report("apply receipts again", None, receipts=count)
        self.message_user(request, f"Receipts waiting for a worker again: {count:,}.")


@admin.register(WebhookCount)
class WebhookCountAdmin(ReadOnlyAdmin):
    """By the hour: shows providers whose calls are refused."""

    list_display = ["hour", "provider", "outcome", "calls", "last_at", "last_detail"]
    list_filter = [ProviderFilter, "outcome"]
