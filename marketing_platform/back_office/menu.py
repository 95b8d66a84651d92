"""The menu of the back office: by task, not by table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

Pages = dict[str, str]  # label -> a model's list ("app.model"), or the name of a page

# A page of our own, and the model whose permission it needs.
OWN_PAGES = {"routing_providers": "routing.providerpause"}

SECTIONS: dict[str, Pages] = {
    "Messages": {
        "Messages": "messaging.campaignmessage",
        "Attempts": "routing.messagedeliveryattempt",
        "Receipts": "routing.deliveryreceipt",
        "Replies": "routing.inboundmessage",
        "Suppressions": "messaging.suppression",
        "Bulk jobs": "messaging.bulkjob",
    },
    "Campaigns": {"Campaigns": "messaging.campaign"},
    "Routes and providers": {
        "Providers": "routing_providers",
        "Routes": "routing.channelroutingconfig",
        "Retry table": "routing.retryrule",
        "Prices": "routing.rate",
        "Rate limits": "routing.providerthrottle",
        "Breakers": "routing.providerhealth",
        "Delivery rates": "routing.deliveryquality",
        "Pauses": "routing.providerpause",
    },
    "Statistics": {"Statistics": "routing.statisticsentry"},
    "Settings": {
        "Users": "auth.user",
        "Groups": "auth.group",
        "API tokens": "marketing_platform.apitoken",
        "Audit log": "marketing_platform.auditevent",
        "Workers": "messaging.workerheartbeat",
        "Schedules": "django_q.schedule",
        "Failed tasks": "django_q.failure",
        "Webhook calls": "routing.webhookcount",
        "Receipts waiting": "routing.waitingreceipt",
    },
}


@dataclass(frozen=True, slots=True)
class Item:
    """A link; the current one leads to the page that is shown."""

    label: str
    href: str
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A task, with the pages that it takes."""

    label: str
    items: list[Item]

    @property
    def href(self) -> str:
        """Its first page."""
        return self.items[0].href

    @property
    def is_current(self) -> bool:
        """Whether one of its pages is shown."""
        return any(each.is_current for each in self.items)


def menu(request: HttpRequest) -> list[Section]:
    """The sections that the user may see; the front page is the first."""
    front = reverse("admin:index")
    sections = [Section("Now", [Item("Now", front, request.path == front)])]
    for label, pages in SECTIONS.items():
        if items := list(_items(pages, request)):
            sections.append(Section(label, items))
    return sections


def _items(pages: Pages, request: HttpRequest) -> Iterator[Item]:
    for label, page in pages.items():
        app, model = OWN_PAGES.get(page, page).split(".")
        if _may_see(request, app, model):
            is_own = page in OWN_PAGES
            href = reverse(f"admin:{page if is_own else f'{app}_{model}_changelist'}")
            yield Item(label, href, request.path.startswith(href))


def _may_see(request: HttpRequest, app: str, model: str) -> bool:
    user = request.user
    return any(user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))
