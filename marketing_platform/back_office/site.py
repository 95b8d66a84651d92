"""The admin site: Django's, with the dashboard as its front page.

Not one click away from it: a person who comes because a provider is down should see
that first.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.http import HttpRequest
from django.template.response import TemplateResponse

from marketing_platform.back_office.dashboard import dashboard
from marketing_platform.back_office.menu import menu
from marketing_platform.log_ins.backend import LogInForm
from messaging.queue.coordination import database_now


class BackOffice(AdminSite):
    """Everything registered with `django.contrib.admin`."""

    site_header = site_title = "Marketing platform"
    index_title = "Back office"
    site_url = None  # there is no other site: "/" redirects here
    enable_nav_sidebar = False  # our menu stands above the pages
    login_form = LogInForm
    index_template = "admin/back_office/dashboard.html"

    def register(
        self,
        model_or_iterable: Any,
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """Called by our apps and others; limits the lists of all of them."""
        from routing.admin.bases import BoundedAdmin  # which registers, when imported

        asked = admin_class or ModelAdmin
        if not issubclass(asked, BoundedAdmin):
            asked = type(
                asked.__name__, (BoundedAdmin, asked), {"__module__": __name__}
            )
        super().register(model_or_iterable, asked, **options)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Of every page: with the menu."""
        return {**super().each_context(request), "menu": menu(request)}

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The dashboard, with the panels that the user may see; to the page itself,
        which asks every few seconds, only these.
        """
        panels = dashboard(may_see=request.user.has_perm, now=database_now())
        panels["is_live"] = request.GET.get("live") != "0"
        if request.headers.get("HX-Request") == "true":
            return TemplateResponse(request, "admin/back_office/now.html", panels)
        return super().index(request, panels | (extra_context or {}))
