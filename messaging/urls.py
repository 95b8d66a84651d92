"""The pages that recipients open."""

from django.urls import path

from messaging.consent.unsubscribe import unsubscribe

urlpatterns = [
    path("<str:token>/", unsubscribe, name="unsubscribe"),
]
