"""Requests as in the vendors' documents, and the receipts for them."""

from __future__ import annotations

import json
import queue
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qsl, urlencode

import urllib3

from routing.simulators import credentials
from routing.simulators.client import SimulatorClient

ACCOUNT = f"/2010-04-01/Accounts/{credentials.TWILIO_ACCOUNT_SID}"
TWILIO_AUTH = urllib3.make_headers(
    basic_auth=f"{credentials.TWILIO_ACCOUNT_SID}:{credentials.TWILIO_AUTH_TOKEN}"
)
VONAGE_AUTH = urllib3.make_headers(
    basic_auth=f"{credentials.VONAGE_API_KEY}:{credentials.VONAGE_API_SECRET}"
)
SENDGRID_AUTH = {"Authorization": f"Bearer {credentials.SENDGRID_API_KEY}"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}

TWILIO_SMS = {"To": "+15558675310", "From": "+15005550006", "Body": "Hello"}
VONAGE_SMS = {"to": "15558675310", "from": "15005550007", "text": "Hello"}
VONAGE_MMS = {
    "channel": "mms",
    "message_type": "image",
    "to": "15558675310",
    "from": "15005550007",
    "image": {"url": "https://example.com/a.png", "caption": "Hello"},
}
MAIL = {
    "personalizations": [{"to": [{"email": "ada@example.com"}]}],
    "from": {"email": "campaigns@example.com"},
    "subject": "News",
    "content": [{"type": "text/plain", "value": "Hello"}],
}


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook call."""

    path: str
    headers: dict[str, str]
    body: bytes

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Receives receipts; `answers` are HTTP statuses for the next calls, else 200."""

    url: str
    calls: queue.Queue[Received]
    answers: queue.Queue[int]

    def take(self, count: int) -> list[Received]:
        return [self.calls.get(timeout=5) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Wires:
    """Sends one message to each vendor, with changes to the usual one."""

    client: SimulatorClient
    http: urllib3.PoolManager

    def url(self, listener: str, path: str) -> str:
        port = self.client.base_port + credentials.PORT_OFFSETS[listener]
        return f"http://127.0.0.1:{port}{path}"

    def twilio(
        self, *, auth: dict[str, str] = TWILIO_AUTH, **changes: object
    ) -> urllib3.BaseHTTPResponse:
        form = {k: v for k, v in {**TWILIO_SMS, **changes}.items() if v is not None}
        return self.http.request(
            "POST",
            self.url("twilio", f"{ACCOUNT}/Messages.json"),
            body=urlencode(form, doseq=True),
            headers={**auth, **FORM},
        )

    def get_twilio(self, path: str) -> urllib3.BaseHTTPResponse:
        url = self.url("twilio", ACCOUNT + path)
        return self.http.request("GET", url, headers=TWILIO_AUTH)

    def vonage_sms(
        self, *, auth: dict[str, str] = VONAGE_AUTH, **changes: object
    ) -> urllib3.BaseHTTPResponse:
        named = {key.replace("_", "-"): value for key, value in changes.items()}
        form = {k: v for k, v in {**VONAGE_SMS, **named}.items() if v is not None}
        return self.http.request(
            "POST",
            self.url("vonage", "/sms/json"),
            body=urlencode(form),
            headers={**auth, **FORM},
        )

    def vonage_mms(
        self, *, auth: dict[str, str] = VONAGE_AUTH, **changes: object
    ) -> urllib3.BaseHTTPResponse:
        return self.http.request(
            "POST",
            self.url("vonage", "/v1/messages"),
            body=json.dumps({**VONAGE_MMS, **changes}),
            headers={**auth, **JSON},
        )

    def sendgrid(
        self, *, auth: dict[str, str] = SENDGRID_AUTH, **changes: object
    ) -> urllib3.BaseHTTPResponse:
        return self.http.request(
            "POST",
            self.url("sendgrid", "/v3/mail/send"),
            body=json.dumps({**MAIL, **changes}),
            headers={**auth, **JSON},
        )

    def smtp(self, *recipients: str, reference: str = "m1a1") -> None:
        mail = EmailMessage()
        mail["From"] = "campaigns@example.com"
        mail["To"] = ", ".join(recipients or ("ada@example.com",))
        mail["Subject"] = "Grüße"
        mail["X-Message-Reference"] = reference
        mail.set_content("Schöne Grüße")
        port = self.client.base_port + credentials.PORT_OFFSETS["smtp"]
        with smtplib.SMTP("127.0.0.1", port, timeout=0.5) as connection:
            connection.send_message(mail)
