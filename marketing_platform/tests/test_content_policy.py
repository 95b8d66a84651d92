"""Every page forbids what it does not need, and needs no inline script or style."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from marketing_platform.content_policy import HEADER, POLICY
from marketing_platform.tests.test_dashboard import bad_morning  # noqa: F401 - fixture

pytestmark = pytest.mark.django_db
INLINE = re.compile(
    r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=|javascript:|"
    r"(?:src|<link[^>]*href)=[\"'](?:https?:)?//"
)
OTHERS = [
    "/admin/",
    "/admin/?every=30",
    "/admin/routing/channelroutingconfig/explain/?channel=0&to=%2B14155550000",
    "/admin/password_change/",
    "/admin/no/such/page/",
    "/no/such/page",
    "/api/docs/",
    "/api/messages",
]


def pages():
    """The list, the form for a new row, and a row of each model."""
    for each in admin.site._registry.values():
        name = f"admin:{each.opts.app_label}_{each.opts.model_name}"
        yield reverse(f"{name}_changelist")
        if each.model._meta.model_name == "statisticsentry":
            continue
        yield reverse(f"{name}_add")
        if row := each.model._default_manager.first():
            yield reverse(f"{name}_change", args=[row.pk])
            yield reverse(f"{name}_history", args=[row.pk])
            yield reverse(f"{name}_delete", args=[row.pk])


def test_every_page_of_the_back_office_runs_and_loads_only_our_files(
    admin_client,
    bad_morning,  # noqa: F811
):
    seen = list(pages())

    assert len(seen) > 60
    for address in [*seen, *OTHERS]:
        page = admin_client.get(address)
        assert page[HEADER].startswith("default-src 'self'")
        assert "unsafe" not in page[HEADER]
        assert not INLINE.search(page.text), address


def test_a_stranger_gets_the_same_policy(client):
    for address in ("/admin/login/", "/admin/", "/api/schema", "/webhooks/X/"):
        assert client.get(address)[HEADER] == POLICY
