"""What happened: hand-overs to providers and what they said of them. Only read."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.bases import ProviderFilter, ReadOnlyAdmin
from routing.models import DeliveryReceipt, MessageDeliveryAttempt


@admin.register(MessageDeliveryAttempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "attempted_at",
        "message",
        "attempt_number",
        "provider",
        "outcome",
        "error_code",
        "error_class",
        "fallback_reason",
        "cost",
        "currency",
        "response_time_ms",
    ]
    list_filter = [
        "channel",
        ProviderFilter,
        "outcome",
        "error_class",
        "fallback_reason",
        "is_late",
    ]
    search_fields = ["=message__id", "=external_message_id"]
    ordering = ["-id"]
    list_select_related = ["message"]
    show_full_result_count = False


@admin.register(DeliveryReceipt)
class ReceiptAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "message",
        "attempt_number",
        "provider",
        "provider_status",
        "status",
        "error_code",
        "occurred_at",
        "received_at",
    ]
    list_filter = [ProviderFilter, "status"]
    search_fields = ["=message__id", "=external_message_id"]
    ordering = ["-id"]
    list_select_related = ["message"]
    show_full_result_count = False
