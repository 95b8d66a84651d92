"""The webhooks of the providers."""

from django.urls import path

from routing.receipts.webhooks import receive_inbound, receive_receipts

urlpatterns = [
    path("<str:provider_name>/", receive_receipts, name="receipts"),
    path("<str:provider_name>/inbound/", receive_inbound, name="inbound"),
]
