"""Recipients of marketing e-mail can end it by one click; only viewing ends nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256

import pytest
from django.test import Client

from messaging.addresses import Address
from messaging.audience.load import add_recipients, drafts_of
from messaging.audience.recipients import Recipient
from messaging.campaigns import CampaignText
from messaging.consent.unsubscribe_links import message_id_in, unsubscribe_url
from messaging.factories import LONG_AGO, CampaignFactory, MessageFactory
from messaging.models import CampaignMessage, Suppression
from messaging.queue.worker import Processor
from messaging.rules.content import ContentError
from messaging.rules.merge_fields import check_columns
from messaging.rules.wording import Wording
from messaging.tests.scenario import claim
from messaging.vocabulary import SuppressionReason, WorkerKind
from routing.factories import RouteFactory
from routing.providers.transport.mail import compose
from routing.simulators.process import read_handset_log
from routing.vocabulary import CampaignKind, Channel, MessageStatus

PUBLIC_URL = "https://messages.example.com"
ONE_CLICK = {
    "data": "List-Unsubscribe=One-Click",
    "content_type": "application/x-www-form-urlencoded",
}
ADA = "ada@example.com"
BODY = "News.\nNo more of it: {{ unsubscribe_url }}"


@pytest.fixture
def link(db, settings):
    """The path of the link in an e-mail to Ada."""
    settings.PUBLIC_URL = PUBLIC_URL
    settings.SECURE_SSL_REDIRECT = False
    return unsubscribe_url(email().pk).removeprefix(PUBLIC_URL)


@pytest.fixture
def mail_program():
    """Without a cookie, and without a CSRF token."""
    return Client(enforce_csrf_checks=True)


def email(*, kind=CampaignKind.MARKETING, body=BODY, recipient=ADA):
    campaign = CampaignFactory(
        channel=Channel.EMAIL, kind=kind, subject="News", body=body
    )
    return MessageFactory(campaign=campaign, recipient=recipient)


def test_one_click_unsubscribes_without_cookies_and_without_a_redirect(
    mail_program, link
):
    response = mail_program.post(link, **ONE_CLICK)

    assert (response.status_code, response.cookies) == (200, {})
    suppression = Suppression.objects.get()
    assert (suppression.address, suppression.source) == (ADA, "Unsubscribe link")
    assert suppression.reason == SuppressionReason.OPTED_OUT


def test_a_second_click_does_no_harm(mail_program, link):
    statuses = [mail_program.post(link, **ONE_CLICK).status_code for _ in range(2)]

    assert statuses == [200, 200]
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete", "patch"])
def test_programs_that_only_look_unsubscribe_nobody(mail_program, link, method):
    response = getattr(mail_program, method)(link)

    assert response.status_code == (200 if method in {"get", "head"} else 405)
    assert not Suppression.objects.exists()


def test_the_page_asks_and_its_button_unsubscribes(mail_program, link):
    page = mail_program.get(link).content.decode()

    assert '<form method="post"><button>Unsubscribe</button></form>' in page
    assert "You are unsubscribed" in mail_program.post(link).content.decode()
    assert Suppression.objects.get().address == ADA


def test_the_page_takes_nothing_from_elsewhere_and_tells_nobody(mail_program, link):
    response = mail_program.get(link)

    assert not re.search(r"(src|href|action)=|https?://", response.content.decode())
    assert response["Content-Security-Policy"].startswith("default-src 'none'")
    (style,) = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in response["Content-Security-Policy"]
    assert response["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response["Cache-Control"]


def test_the_link_names_nobody(link):
    assert "ada" not in link.lower()
    assert "@" not in link


@pytest.mark.parametrize(
    "spoil",
    [
        lambda link: link[:-3] + "/",
        lambda link: link.replace(".", "x"),
        lambda link: link.replace("unsubscribe/", "unsubscribe/x"),
        lambda link: "/unsubscribe/1/",
        lambda link: "/unsubscribe/MQ.x/",
        lambda link: "/unsubscribe/%00%ff/",
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_is_not_ours_says_so_and_suppresses_nobody(
    mail_program, link, spoil, method
):
    response = getattr(mail_program, method)(spoil(link))

    assert response.status_code == 404
    assert "This link does not work" in response.content.decode()
    assert not Suppression.objects.exists()


def test_a_link_outlives_its_key(settings):
    settings.SECRET_KEY = "old"
    token = unsubscribe_url(7).split("/")[-2]

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]

    assert message_id_in(token) == 7


def email_route_by(provider):
    return RouteFactory(
        channel=Channel.EMAIL,
        primary_provider=provider,
        fallback_provider="",
        enable_fallback=False,
    )


@pytest.fixture
def email_route(db, settings):
    settings.PUBLIC_URL = PUBLIC_URL
    settings.MESSAGE_PROVIDERS = {
        "SMTPEmail": {"BACKEND": "routing.providers.memory.MemoryEmail"}
    }
    email_route_by("SMTPEmail")


def test_marketing_carries_its_link_in_headers_and_body(email_route):
    message = email()

    [claimed] = claim(now=LONG_AGO)
    mail = compose(claimed.content, sender="shop@example.com").message()

    url = unsubscribe_url(message.pk)
    assert mail["List-Unsubscribe"] == f"<{url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.get_payload() == f"News.\nNo more of it: {url}"


def test_a_field_in_a_recipients_value_is_no_link(email_route):
    campaign = CampaignFactory(
        channel=Channel.EMAIL, subject="News", body="{{name}}: {{unsubscribe_url}}"
    )
    row = Recipient(2, Address(ADA), {"name": "{{unsubscribe_url}} {{x}}"})
    drafts = drafts_of(Wording(campaign), [row])
    add_recipients(campaign, drafts, due_at=LONG_AGO, on_rejected=pytest.fail)

    [claimed] = claim(now=LONG_AGO)

    url = unsubscribe_url(claimed.message_id)
    assert claimed.content.body == f"{{{{unsubscribe_url}}}} {{{{x}}}}: {url}"


def test_a_transactional_email_has_none_of_it(email_route):
    email(kind=CampaignKind.TRANSACTIONAL, body="Your code: 1234")

    [claimed] = claim(now=LONG_AGO)
    mail = compose(claimed.content, sender="shop@example.com").message()

    assert "List-Unsubscribe" not in mail
    assert "List-Unsubscribe-Post" not in mail


def text(**fields):
    values = {"channel": Channel.EMAIL, "subject": "News", "body": BODY}
    return CampaignText(name="News", **(values | fields))


def check(**fields):
    """Check a campaign for people with only an address."""
    wording = Wording(text(**fields))
    check_columns(wording.body, ["email"], wording.own)
    check_columns(wording.subject, ["email"])


def test_the_field_needs_no_column():
    check()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": CampaignKind.TRANSACTIONAL},
        {"channel": Channel.SMS, "subject": ""},
        {"body": "Hi", "subject": "{{unsubscribe_url}}"},
    ],
    ids=["transactional", "SMS", "subject"],
)
def test_where_there_is_no_link_the_field_is_refused(fields):
    with pytest.raises(ContentError, match="unsubscribe_url"):
        check(**fields)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("provider", ["SMTPEmail", "SendGridEmail"])
def test_over_the_wire_a_click_ends_what_waits(
    live_server, simulator, simulator_process, provider, mail_program
):
    simulator.configure(receipts=False)
    email_route_by(provider)
    email()
    drain()
    [*_, entry] = read_handset_log(simulator_process.handset_log)
    url = entry.message.unsubscribe_url
    waiting = email()
    reset = email(kind=CampaignKind.TRANSACTIONAL, body="Reset your password")

    mail_program.post(url.removeprefix(live_server.url), **ONE_CLICK)
    drain()

    assert url in entry.message.body
    waiting.refresh_from_db()
    assert waiting.status == MessageStatus.SUPPRESSED
    reset.refresh_from_db()
    assert reset.status == MessageStatus.SENT
    assert CampaignMessage.objects.filter(status=MessageStatus.SENT).count() == 2


def drain():
    Processor(kind=WorkerKind.COMMAND, idle_limit=timedelta(0)).run()
