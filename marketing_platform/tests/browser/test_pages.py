"""All pages of the back office that people work with, as a browser shows them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from django.utils import timezone

from marketing_platform.tests.browser.conftest import DESKTOP, PHONE
from messaging.admin.jobs import act_address
from messaging.factories import CampaignFactory, MessageFactory
from messaging.models import CampaignMessage
from messaging.vocabulary import BulkAct
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import ProviderHealth
from routing.rules.breaker import BreakerState
from routing.vocabulary import AttemptOutcome, Channel, ErrorClass, MessageStatus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
LOOKS = {
    "light": {**DESKTOP, "color_scheme": "light"},
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}
LISTS = (
    "messaging_campaignmessage",
    "messaging_campaign",
    "messaging_suppression",
    "messaging_bulkjob",
    "routing_messagedeliveryattempt",
    "routing_deliveryreceipt",
    "routing_channelroutingconfig",
    "routing_retryrule",
    "routing_providerthrottle",
    "routing_providerpause",
    "routing_statisticsentry",
    "marketing_platform_auditevent",
    "marketing_platform_apitoken",
)


def addresses():
    """Each page once, by what it shows."""
    message = CampaignMessage.objects.earliest("pk")
    return [
        "/admin/",
        *(reverse(f"admin:{name}_changelist") for name in LISTS),
        reverse("admin:messaging_campaignmessage_change", args=[message.pk]),
        reverse("admin:messaging_campaign_change", args=[message.campaign_id]),
        reverse("admin:messaging_campaign_act", args=[message.campaign_id, "pause"]),
        act_address(BulkAct.RETRY, campaign=message.campaign_id),
        reverse("admin:routing_channelroutingconfig_add"),
        reverse("admin:routing_providers"),
        reverse("admin:routing_provider_act", args=["TwilioSMS", "pause"]),
    ]


@pytest.fixture
def busy(simulator):
    """Messages in several states, a provider out of use, long names."""
    now = timezone.now()
    RouteFactory()
    campaign = CampaignFactory(name="A very long name of an autumn campaign " * 4)
    failed = MessageFactory(
        campaign=campaign, status=MessageStatus.FAILED, finished_at=now, attempt_count=1
    )
    AttemptFactory(
        message=failed,
        attempted_at=now,
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.RECIPIENT,
        error_code="21211",
        error_message="The number 'To' is not a valid phone number. " * 4,
    )
    delivered = MessageFactory(campaign=campaign, status=MessageStatus.DELIVERED)
    AttemptFactory(message=delivered, attempted_at=now)
    ReceiptFactory(message=delivered)
    MessageFactory(campaign=campaign, status_reason="Retrying: out of reach " * 9)
    ProviderHealth.objects.create(
        provider="TwilioSMS",
        channel=Channel.SMS,
        state=BreakerState.OPEN,
        reason="5 failures in a row",
        open_until=now + timedelta(minutes=1),
    )


@pytest.mark.parametrize("look", LOOKS)
def test_each_page_fits_and_can_be_used_by_everyone(office, busy, look):
    faults = []
    page = office("/admin/", **LOOKS[look], bypass_csp=True)  # axe is injected
    for address in addresses():
        page.goto(page.url.split("/admin/")[0] + address)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > page.viewport_size["width"]:
            faults.append(f"{address} is {width} px wide")
        for found in Axe().run(page, options=RULES).response["violations"]:
            where = found["nodes"][0]["html"][:200]
            faults.append(f"{address}: {found['id']} ({found['impact']}): {where}")

    assert not faults, "\n".join(faults)


def test_each_page_keeps_to_its_policy(office, busy):
    page = office("/admin/")
    for address in addresses():
        answer = page.goto(page.url.split("/admin/")[0] + address)

        assert answer.status == 200
        assert answer.headers["content-security-policy"].startswith(
            "default-src 'self'"
        )
