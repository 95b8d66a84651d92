"""All URLs of the web server."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from marketing_platform.diagnosis.metrics import MetricsView
from marketing_platform.schema_view import SchemaView

handler404 = "routing.api.conventions.problems.not_found"
handler500 = "marketing_platform.web_queries.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("unsubscribe/", include("messaging.urls")),
    path("webhooks/", include("routing.urls")),
    # The description of the API is public; the API itself needs a token.
    re_path(r"^api/schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^api/docs/?$", SpectacularSwaggerSplitView.as_view(), name="docs"),
    re_path(r"^metrics/?$", MetricsView.as_view(), name="metrics"),
    path("api/", include("routing.api.urls")),
    path("api/", include("messaging.api.urls")),
]
