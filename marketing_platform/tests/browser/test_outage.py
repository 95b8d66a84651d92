"""A morning with a provider down, as an operator lives through it."""

from __future__ import annotations

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from marketing_platform.audit.models import AuditEvent
from marketing_platform.tests.browser.conftest import DESKTOP, PHONE
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage
from messaging.tests.tallies import drain, enqueue
from routing.factories import AttemptFactory, RouteFactory
from routing.models import MessageDeliveryAttempt
from routing.vocabulary import AttemptOutcome, ErrorClass, MessageStatus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]


@pytest.fixture
def outage(live_server, simulator):
    """Twilio answers 503 to everything; three messages failed before Vonage was added
    to the route.
    """
    RouteFactory()
    before = CampaignFactory(name="Before breakfast")
    for _ in range(3):
        lost = MessageFactory(
            campaign=before,
            status=MessageStatus.FAILED,
            provider="TwilioSMS",
            attempt_count=1,
            finished_at=timezone.now(),
        )
        AttemptFactory(
            message=lost,
            outcome=AttemptOutcome.REJECTED,
            error_class=ErrorClass.PROVIDER,
            error_code="503",
            attempted_at=timezone.now(),
        )
    simulator.set_fault("TwilioSMS", "error", status=503)
    enqueue(12, due_at=timezone.now())
    drain()
    return before


def card(page, name):
    return page.locator(".cards > li").filter(
        has=page.get_by_role("link", name=name, exact=True)
    )


def give_reason(page, reason):
    page.get_by_label("Reason").fill(reason)
    page.locator("input[type=submit].default").click()


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_operator_gets_through_an_outage(office, outage, simulator, device):
    page = office("/admin/", **device)
    expect(card(page, "TwilioSMS")).to_contain_text("out of use")
    expect(card(page, "TwilioSMS")).to_contain_text("traffic goes to VonageSMS")

    card(page, "TwilioSMS").get_by_role("link", name="Pause").click()
    give_reason(page, "Their status page is red.")
    expect(card(page, "TwilioSMS")).to_contain_text("Their status page is red")

    tried = MessageDeliveryAttempt.objects.filter(provider="TwilioSMS").count()
    enqueue(5, due_at=timezone.now())
    drain()
    assert MessageDeliveryAttempt.objects.filter(provider="TwilioSMS").count() == tried

    page.get_by_role("link", name="Retry: Provider 503, TwilioSMS").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry: 3 messages")
    give_reason(page, "Vonage takes them now.")
    expect(page.get_by_text("3 of 3 messages done.")).to_be_visible()
    drain()
    gone = CampaignMessage.objects.filter(campaign=outage)
    assert set(gone.values_list("provider", flat=True)) == {"VonageSMS"}

    simulator.clear_faults()
    page.get_by_role("link", name="Now", exact=True).click()
    card(page, "TwilioSMS").get_by_role("link", name="Resume").click()
    give_reason(page, "They are back.")
    expect(card(page, "TwilioSMS")).not_to_contain_text("paused")

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Audit log").click()
    acts = AuditEvent.objects.filter(actor="ada").order_by("pk")
    assert [each.action for each in acts if each.action != "log in"] == [
        "pause",
        "ask for bulk job",
        "change",  # of the campaign, which is under way again
        "finish bulk job",
        "resume",
    ]
    for act in ("pause", "finish bulk job", "resume"):
        expect(page.get_by_role("cell", name=act, exact=True).first).to_be_visible()


def test_the_front_page_follows_without_a_reload(office, outage):
    page = office("/admin/")
    expect(page.locator(".funnel")).to_contain_text("queued 12")

    enqueue(5, due_at=timezone.now())
    drain()

    expect(page.locator(".funnel")).to_contain_text("queued 17")
