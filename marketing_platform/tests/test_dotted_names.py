"""Every dotted name in a string resolves; import-linter cannot see those."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin import site
from django.core.checks import registry as checks
from django.template import engines
from django.template.loader import get_template
from django.urls import get_resolver, resolve, reverse
from django.utils.module_loading import import_module, import_string

from marketing_platform.provider_settings import PROVIDERS
from messaging.cluster.broker import DRAIN_TASK
from messaging.consent.unsubscribe_links import SALT, unsubscribe_url
from routing.providers.base import Provider
from routing.providers.registry import registry

PACKAGES = ("marketing_platform", "messaging", "routing")
OURS = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
CHECK_ID = re.compile(r"\w+\.[EW]\d{3}")


def literals(path):
    """The strings of a module that are our dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and OURS.fullmatch(node.value) and node.value != SALT:
            yield node.value


@cache
def our_names():
    """(file, name) of each of our dotted names in a string."""
    return [
        (str(path.relative_to(settings.BASE_DIR)), name)
        for package in PACKAGES
        for path in sorted((Path(settings.BASE_DIR) / package).rglob("*.py"))
        if "tests" not in path.parts
        for name in sorted(set(literals(path)))
    ]


def resolves(name):
    """Whether it is a module, something in one, a model, its permission, or a check."""
    return bool(
        CHECK_ID.fullmatch(name)
        or _importable(import_module, name)
        or _importable(import_string, name)
        or _is_model(name)
        or _is_permission(name)
    )


def _importable(import_name, name):
    try:
        return import_name(name) is not None
    except ImportError:
        return False


def _is_model(name):
    try:
        return apps.get_model(name) is not None
    except (LookupError, ValueError):
        return False


def _is_permission(name):
    """Such as `messaging.change_campaign`, or one that a model adds."""
    app, _, codename = name.partition(".")
    action, _, model = codename.partition("_")
    if action in {"add", "change", "delete", "view"}:
        return _is_model(f"{app}.{model}")
    models = apps.get_app_config(app).get_models() if apps.is_installed(app) else ()
    return any(codename in dict(each._meta.permissions) for each in models)


def test_every_dotted_name_of_ours_resolves():
    gone = [f"{where}: {name}" for where, name in our_names() if not resolves(name)]

    assert not gone, (
        "No module, attribute or model has this name. Was it moved? Then change the "
        f"string as well: no import tells you. {gone}"
    )


def test_the_search_finds_the_names_that_matter():
    found = {name for _, name in our_names()}

    assert {DRAIN_TASK, settings.Q_CLUSTER["broker_class"], "routing.urls"} <= found
    assert set(PROVIDERS) <= found


def test_the_search_would_notice_a_name_that_is_gone():
    assert not resolves("routing.gone")
    assert not resolves("routing.models.Gone")
    assert not resolves("messaging.change_gone")


def test_the_classes_and_functions_of_the_settings_can_be_imported():
    for name in (
        settings.Q_CLUSTER["broker_class"],
        settings.WSGI_APPLICATION,
        settings.ASGI_APPLICATION,
        settings.REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"],
        *settings.MIDDLEWARE,
        *(each["BACKEND"] for each in settings.TEMPLATES),
        *(each["NAME"] for each in settings.AUTH_PASSWORD_VALIDATORS),
        *(each["class"] for each in settings.LOGGING["handlers"].values()),
    ):
        assert callable(import_string(name)), name


def test_the_context_processors_of_the_templates_can_be_imported():
    assert engines["django"].engine.template_context_processors


@pytest.mark.parametrize("name", settings.MESSAGE_PROVIDERS)
def test_a_provider_of_the_settings_is_a_provider_of_the_channel_it_is_named_for(name):
    cls = registry.provider_class(name)

    assert issubclass(cls, Provider)
    assert name.upper().endswith(cls.channel.name)


def test_the_urls_are_there():
    assert get_resolver(settings.ROOT_URLCONF).url_patterns
    assert reverse("receipts", args=["TwilioSMS"]) == "/webhooks/TwilioSMS/"
    assert reverse("inbound", args=["TwilioSMS"]) == "/webhooks/TwilioSMS/inbound/"
    assert reverse(settings.LOGIN_REDIRECT_URL) == "/admin/"


@pytest.mark.parametrize("name", settings.MESSAGE_PROVIDERS)
def test_a_provider_posts_its_receipts_to_the_webhook(name):
    url = settings.MESSAGE_PROVIDERS[name]["OPTIONS"]["RECEIPT_URL"]

    assert url == f"{settings.PUBLIC_URL}{reverse('receipts', args=[name])}"


def test_the_link_in_an_email_leads_to_its_page():
    path = unsubscribe_url(7).removeprefix(settings.PUBLIC_URL)

    assert resolve(path).url_name == "unsubscribe"


def test_the_templates_that_the_admin_names_exist():
    for model in apps.get_models():
        if site.is_registered(model):
            template = site.get_model_admin(model).change_form_template
            assert template is None or get_template(template)


def test_our_checks_are_registered():
    modules = {check.__module__ for check in checks.registry.get_checks()}

    assert "routing.checks" in modules
