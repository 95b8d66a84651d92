"""A made-up provider without a simulator, added as CONTRIBUTING.md says: one file."""

from __future__ import annotations

import json

from routing.providers.base import (
    Acceptance,
    AccountError,
    OutboundMessage,
    OutcomeUnknown,
    RecipientError,
)
from routing.providers.error_codes import OPTED_OUT, Table
from routing.providers.options import Option
from routing.providers.transport.http import Answer, HttpProvider
from routing.text.untrusted import as_text
from routing.vocabulary import Channel

# A real provider's file has the address of the vendor's list of codes here.
CODES: Table = {
    "bad_number": RecipientError,
    "no_credit": AccountError,
    "stopped": OPTED_OUT,
}


class AcmeSMS(HttpProvider):
    """SMS through Acme."""

    channel = Channel.SMS
    declared_options = (
        Option("TOKEN", "ACME_TOKEN", is_required=True),
        Option("FROM", "ACME_FROM", is_required=True, help="a number of ours there"),
        Option("BASE_URL", "ACME_BASE_URL", default="https://api.acme.example"),
        Option("IS_FLASH", "ACME_IS_FLASH", default=False, help="shown at once"),
    )
    codes = CODES

    def cannot_carry(self, message: OutboundMessage) -> str:
        """An SMS carries no media."""
        return "An SMS carries no media." if message.media_urls else ""

    def send(self, message: OutboundMessage) -> Acceptance:
        """Post the message; Acme answers with its id."""
        self.refuse_unsuitable(message)
        document = {
            "from": self.options["FROM"],
            "to": message.recipient,
            "text": message.body,
            "flash": self.options["IS_FLASH"],
        }
        answer = self.http.post(
            self.url("/messages"),
            body=json.dumps(document).encode(),
            headers={"Authorization": f"Bearer {self.options['TOKEN']}"},
        )
        if not answer.is_success:
            raise self.refusal(answer)
        external_id = as_text(answer.json().get("id"))
        if not external_id:
            raise OutcomeUnknown("Acme answered 2xx without an id.")
        return Acceptance(external_message_id=external_id)

    def read_error(self, answer: Answer) -> tuple[str, str]:
        """`{"error": "bad_number", "detail": …}`"""
        error = answer.json()
        return as_text(error.get("error")), as_text(error.get("detail"))
