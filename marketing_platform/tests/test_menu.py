"""The menu of the back office."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse

from marketing_platform.back_office.menu import OWN_PAGES, SECTIONS

pytestmark = pytest.mark.django_db
PAGES = [page for pages in SECTIONS.values() for page in pages.values()]
# Reached from the pages of the list that they belong to.
ELSEWHERE = {"django_q.ormq", "django_q.success"}


def in_menu(page):
    return {each.label: [i.label for i in each.items] for each in page.context["menu"]}


def test_it_leads_to_every_list(admin_client):
    lists = {each._meta.label_lower for each in admin.site._registry}
    shown = {page for page in PAGES if page not in OWN_PAGES}

    assert shown | ELSEWHERE == lists
    for section in admin_client.get("/admin/").context["menu"]:
        for item in section.items:
            assert admin_client.get(item.href).status_code == 200, item


def test_it_says_where_one_is(admin_client):
    address = reverse("admin:routing_retryrule_changelist")

    menu = admin_client.get(address).context["menu"]

    (section,) = [each for each in menu if each.is_current]
    (item,) = [each for each in section.items if each.is_current]
    assert (section.label, item.label) == ("Routes and providers", "Retry table")


def test_it_shows_only_what_one_may_see(client, django_user_model):
    user = django_user_model.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=("view_campaign", "change_providerthrottle")
        )
    )
    client.force_login(user)

    assert in_menu(client.get("/admin/")) == {
        "Now": ["Now"],
        "Campaigns": ["Campaigns"],
        "Routes and providers": ["Rate limits"],
    }
