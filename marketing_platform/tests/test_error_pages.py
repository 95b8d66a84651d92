"""Pages for errors look like the back office, and say what to do next."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from marketing_platform.web_queries import TOO_LONG, unavailable

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client, django_user_model):
    """May see messages, and change nothing."""
    user = django_user_model.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename="view_campaignmessage")
    )
    client.force_login(user)
    return client


def is_in_our_look(page):
    return "back_office.css" in page.text and "favicon.svg" in page.text


@pytest.mark.parametrize(
    ("address", "status", "advice"),
    [
        ("/admin/messaging/campaign/", 403, "Ask an administrator for the permission"),
        ("/admin/no/such/page/", 404, "Search for it in its list."),
        ("/elsewhere", 404, "Search for it in its list."),
    ],
)
def test_an_error_says_what_to_do_next(viewer, address, status, advice):
    page = viewer.get(address)

    assert page.status_code == status
    assert advice in page.text
    assert is_in_our_look(page)


def test_an_error_on_our_side_says_that_it_was_logged(viewer, monkeypatch):
    viewer.raise_request_exception = False
    monkeypatch.setattr(
        "marketing_platform.back_office.site.dashboard", lambda **_: 1 / 0
    )

    page = viewer.get("/admin/")

    assert page.status_code == 500
    assert "It was logged." in page.text
    assert is_in_our_look(page)


def test_a_database_in_trouble_is_a_page_for_people(rf):
    page = unavailable(rf.get("/admin/"), TOO_LONG)

    assert (page.status_code, page["Retry-After"]) == (503, "30")
    assert "The database took too long." in page.text
    assert is_in_our_look(page)
