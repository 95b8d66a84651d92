"""The messages that the simulated Twilio remembers, for look-ups. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from routing.simulators import credentials

CAPACITY = 50_000
_PAGE_LIMIT = 1000
# Made up, like those of `routing.providers.twilio`: per segment, and per MMS.
_SMS_PRICE, _MMS_PRICE = Decimal("0.0079"), Decimal("0.0200")


@dataclass(slots=True, kw_only=True)
class TwilioMessage:
    """A Message resource and its status."""

    sid: str
    recipient: str
    sender: str
    body: str
    segments: int
    media_count: int
    created_at: datetime
    status: str = "queued"
    sent_at: datetime | None = None
    error_code: int | None = None
    error_message: str | None = None

    def finish(
        self, status: str, *, error_code: int | None, error_message: str | None
    ) -> None:
        """Note that the message was sent, and whether it was delivered."""
        self.sent_at = datetime.now(UTC)
        self.status = status
        self.error_code = error_code
        self.error_message = error_message

    def resource(self, account_path: str) -> dict[str, Any]:
        """The resource as Twilio shows it; it has a price once it was sent."""
        uri = f"{account_path}/Messages/{self.sid}"
        return {
            "account_sid": credentials.TWILIO_ACCOUNT_SID,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": format_datetime(self.created_at),
            "date_sent": format_datetime(self.sent_at) if self.sent_at else None,
            "date_updated": format_datetime(self.sent_at or self.created_at),
            "direction": "outbound-api",
            "error_code": self.error_code,
            "error_message": self.error_message,
            "from": self.sender or None,
            "messaging_service_sid": None,
            "num_media": str(self.media_count),
            "num_segments": str(self.segments),
            "price": self._price(),
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.recipient,
            "uri": f"{uri}.json",
        }

    def _price(self) -> str | None:
        """Negative, as a charge; unknown until the message was sent."""
        if self.sent_at is None:
            return None
        return str(-(_MMS_PRICE if self.media_count else _SMS_PRICE * self.segments))


class TwilioStore:
    """The newest messages, by SID and by recipient."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._by_sid: OrderedDict[str, TwilioMessage] = OrderedDict()
        self._by_recipient: dict[str, dict[str, TwilioMessage]] = {}

    def add(self, message: TwilioMessage) -> TwilioMessage:
        """Remember a message; when full, forget the oldest."""
        if len(self._by_sid) >= self._capacity:
            self._drop_oldest()
        self._by_sid[message.sid] = message
        self._by_recipient.setdefault(message.recipient, {})[message.sid] = message
        return message

    def find(self, sid: str) -> TwilioMessage:
        """One message; raises KeyError if it is not (or no longer) known."""
        return self._by_sid[sid]

    def clear(self) -> None:
        """Forget all of them."""
        self._by_sid.clear()
        self._by_recipient.clear()

    def page(
        self, query: Mapping[str, str], account_path: str, *, until: datetime
    ) -> dict[str, Any]:
        """One page of those that match the query and were accepted before `until`.

        Raises ValueError for an invalid query.
        """
        number = max(int(query.get("Page", "0")), 0)
        size = min(max(int(query.get("PageSize", "50")), 1), _PAGE_LIMIT)
        old_enough = (m for m in self._newest(query) if m.created_at < until)
        found = list(filter(_matcher(query), old_enough))
        start = number * size
        shown = found[start : start + size]
        list_path = f"{account_path}/Messages.json"

        def uri(page: int) -> str:
            return f"{list_path}?{urlencode({**query, 'Page': page})}"

        return {
            "end": start + max(len(shown) - 1, 0),
            "first_page_uri": uri(0),
            "messages": [message.resource(account_path) for message in shown],
            "next_page_uri": uri(number + 1) if found[start + size :] else None,
            "page": number,
            "page_size": size,
            "previous_page_uri": uri(number - 1) if number else None,
            "start": start,
            "uri": uri(number),
        }

    def _newest(self, query: Mapping[str, str]) -> Iterable[TwilioMessage]:
        """Newest first; those of one recipient without scanning all others."""
        if recipient := query.get("To"):
            return reversed(self._by_recipient.get(recipient, {}).values())
        return reversed(self._by_sid.values())

    def _drop_oldest(self) -> None:
        sid, message = self._by_sid.popitem(last=False)
        of_recipient = self._by_recipient[message.recipient]
        del of_recipient[sid]
        if not of_recipient:
            del self._by_recipient[message.recipient]


# Twilio's filter is `DateSent>=2026-01-01`, which a query string splits at the "=".
_DATE_TESTS: dict[str, Callable[[datetime, datetime], bool]] = {
    "DateSent": lambda sent_at, bound: sent_at.date() == bound.date(),
    "DateSent<": lambda sent_at, bound: sent_at <= bound,
    "DateSent>": lambda sent_at, bound: sent_at >= bound,
}


def _matcher(query: Mapping[str, str]) -> Callable[[TwilioMessage], bool]:
    """The filters From and DateSent; a message not sent yet has no date to match."""
    bounds = {key: _moment(query[key]) for key in _DATE_TESTS if key in query}
    sender = query.get("From")

    def matches(message: TwilioMessage) -> bool:
        if sender not in (None, message.sender):
            return False
        if message.sent_at is None:
            return not bounds
        sent_at = message.sent_at
        return all(_DATE_TESTS[key](sent_at, bound) for key, bound in bounds.items())

    return matches


def _moment(value: str) -> datetime:
    """A day means its first moment, in UTC."""
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
