"""Pages that all can read: in words, with labels and headers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import JSONField
from django.urls import reverse

from messaging.factories import CampaignFactory
from routing.factories import RouteFactory
from routing.models import FurtherProvider, StatisticsEntry, WaitingReceipt

pytestmark = pytest.mark.django_db
MODEL_ADMINS = list(admin.site._registry.values())
WITH_PAGES_OF_ROWS = [e for e in MODEL_ADMINS if e.model is not StatisticsEntry]


class Fields(HTMLParser):
    """The inputs of a page that no label names, and its empty table headers."""

    def __init__(self, page):
        super().__init__()
        self.labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', page))
        self.unnamed, self.empty_headers, self._is_in_label = [], [], False
        self.empty_headers = re.findall(r"<th[^>]*>\s*</th>", page)
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self._is_in_label |= tag == "label"
        is_shown = attrs.get("type") not in {"hidden", "submit", "button"}
        if tag in {"input", "select", "textarea"} and is_shown:
            named = attrs.get("aria-label") or attrs.get("id") in self.labelled
            if not named and not self._is_in_label:
                self.unnamed.append(attrs)

    def handle_endtag(self, tag):
        self._is_in_label &= tag != "label"


def page_of(row, name="change"):
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[row.pk])


@pytest.mark.parametrize("model_admin", WITH_PAGES_OF_ROWS, ids=str)
def test_no_page_shows_a_stored_structure_as_it_is(model_admin, rf, admin_user):
    request = rf.get("/")
    request.user = admin_user
    row = model_admin.model()

    shown = set(flatten_fieldsets(model_admin.get_fieldsets(request, row)))
    if model_admin.has_change_permission(request, row):
        shown &= {*model_admin.get_readonly_fields(request, row)}

    fields = model_admin.model._meta.get_fields()
    assert not shown & {e.name for e in fields if isinstance(e, JSONField)}


def test_a_waiting_receipt_is_shown_in_lines(admin_client, db):
    row = WaitingReceipt.objects.create(
        provider="X",
        event_id="1",
        receipt={"status": "sent", "error_code": ""},
        raw="<b>",
        received_at="2026-01-01T00:00Z",
    )

    assert "<ul><li>status: sent</li></ul>" in admin_client.get(page_of(row)).text


def test_every_field_has_a_label_and_every_column_a_header(admin_client, admin_user):
    route = RouteFactory()
    FurtherProvider.objects.create(route=route, position=3, provider="SendGrid")
    for row in (route, CampaignFactory(), admin_user):
        found = Fields(admin_client.get(page_of(row)).text)

        assert not found.unnamed
        assert not found.empty_headers


@pytest.mark.parametrize("model_admin", MODEL_ADMINS, ids=str)
def test_every_list_has_labels_and_headers(admin_client, model_admin):
    opts = model_admin.opts
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")

    found = Fields(admin_client.get(address).text)

    assert not found.unnamed
    assert not found.empty_headers
