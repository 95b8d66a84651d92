"""The meaning of each SMTP reply, at each stage, by the RFCs."""

from __future__ import annotations

import pytest

from routing.providers.base import (
    AccountError,
    Greylisted,
    MailboxFull,
    MessageError,
    NotNow,
    ProviderError,
    RecipientError,
    Throttled,
    UnsuitableError,
)
from routing.providers.smtp_status import (
    CODES,
    GONE,
    STATUSES,
    SUBJECTS,
    Reply,
    kind_of,
)

IP_BLOCKED = "Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org"


def told(stage: str, reply: str):
    """The failure for a reply, or None if it is not understood."""
    code, _, text = reply.partition(" ")
    maker = kind_of(Reply(stage, int(code), text))
    return maker(text) if maker else None


def test_a_permanent_status_is_what_the_table_says(subtests):
    for status, make in STATUSES.items():
        failure = told("RCPT", f"550 5.{status} Because")
        with subtests.test(status=status):
            assert type(failure) is type(make(""))
            assert getattr(failure, "is_gone", False) == (make is GONE)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_a_detail_that_no_table_has_is_judged_by_its_subject(stage, subject):
    failure = told(stage, f"550 5.{subject}.99 Because")

    assert type(failure) is type(SUBJECTS[subject](""))


def test_a_basic_code_is_what_the_table_says(subtests):
    for row, make in CODES.items():
        stage, _, code = row.partition(" ")
        with subtests.test(row=row):
            assert type(told(stage, f"{code} Because")) is type(make(""))


REPLIES = [
    # Our reputation and policy, at every stage.
    ("CONNECT", f"554 5.7.1 {IP_BLOCKED}", AccountError),
    ("MAIL", f"550 5.7.1 {IP_BLOCKED}", AccountError),
    ("RCPT", f"550 5.7.1 {IP_BLOCKED}", ProviderError),
    ("RCPT", f"550 {IP_BLOCKED}", ProviderError),
    ("DATA", f"550 5.7.1 {IP_BLOCKED}", ProviderError),
    ("RCPT", "550 5.7.1 Message refused", ProviderError),
    ("RCPT", "550 5.7.0 Policy", ProviderError),
    ("RCPT", "554 5.7.1 <ada@example.com>: Relay access denied", AccountError),
    ("RCPT", "550 Relaying denied", AccountError),
    ("DATA", "550 5.7.26 DMARC", AccountError),
    ("RCPT", "450 4.7.1 Client host rejected: no reverse hostname", ProviderError),
    # A recipient who does not accept mail from everyone.
    ("RCPT", "550 5.7.1 Recipient address rejected: denied", UnsuitableError),
    ("RCPT", "550 5.7.1 User not allowed to receive mail", UnsuitableError),
    (
        "RCPT",
        "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup",
        UnsuitableError,
    ),
    ("RCPT", "550 5.7.129 RestrictedToRecipientsPermission", UnsuitableError),
    # Content.
    ("DATA", "550 5.7.1 Spam", MessageError),
    ("DATA", "554 5.6.0 Malformed", MessageError),
    ("DATA", "552 5.3.4 Too big", UnsuitableError),
    # Our own address, not the recipient's.
    ("MAIL", "550 5.1.0 Sender refused", AccountError),
    ("MAIL", "553 5.1.8 Domain of sender does not exist", AccountError),
    ("RCPT", "550 5.1.7 Bad sender", AccountError),
    ("MAIL", "451 4.1.8 Domain of sender does not resolve", ProviderError),
    # Our account, which relays may check only after the body.
    ("MAIL", "501 Invalid MAIL FROM", AccountError),
    ("MAIL", "530 5.7.3 Client was not authenticated", AccountError),
    ("RCPT", "530 5.7.0 Must issue STARTTLS first", AccountError),
    ("DATA", "554 Message rejected: Email address is not verified.", AccountError),
    ("DATA", "554 Sending paused for this account.", AccountError),
    ("DATA", "554 User is not authorized to perform ses:Send", AccountError),
    ("DATA", "550 From does not match a verified Sender Identity", AccountError),
    ("DATA", "550 5.4.5 Daily user sending quota exceeded.", AccountError),
    ("DATA", "550 5.1.90 You've reached your daily limit", AccountError),
    ("DATA", "550 5.2.2 Exception:SubmissionQuotaExceeded", AccountError),
    ("DATA", "554 5.2.252 SendAsDenied; a not allowed to send as b", AccountError),
    ("DATA", "550 5.7.60 No permissions to send as this sender", AccountError),
    ("DATA", "550 5.7.501 Spam: the sending account is banned", AccountError),
    ("RCPT", "550 Free accounts are for test purposes only", AccountError),
    ("RCPT", "550 5.1.1 No such user; quota of your account was", RecipientError),
    # The recipient's mailbox.
    ("RCPT", "550 5.5.0 Action not taken: mailbox unavailable", RecipientError),
    ("RCPT", "503 5.5.1 Bad sequence", ProviderError),
    ("DATA", "554 This user doesn't have a yahoo.com account", RecipientError),
    ("DATA", "554 5.4.14 Hop count exceeded", RecipientError),
    ("RCPT", "550 5.2.121 Exceeded its limit of an hour", NotNow),
    ("MAIL", "552 5.2.3 Exceeds the server's limit", UnsuitableError),
    ("RCPT", "550 (#5.1.1)", RecipientError),
    ("RCPT", "550 5.4.1 Recipient address rejected: Access denied", RecipientError),
    ("RCPT", "552 5.2.2 Over quota", MailboxFull),
    ("RCPT", "452 4.2.2 Over quota", MailboxFull),
    ("DATA", "452 4.2.2 Over quota", MailboxFull),
    ("RCPT", "450 4.1.1 Unverified address", NotNow),
    ("RCPT", "450 Mailbox busy", NotNow),
    ("RCPT", "450 4.2.0 Greylisted", Greylisted),
    ("RCPT", "451 4.7.1 Greylisting in action", Greylisted),
    # Rates, systems and protocol.
    ("RCPT", "450 4.7.1 Policy: come back later", Greylisted),
    ("RCPT", "451 4.7.1 Please try again later", Greylisted),
    ("RCPT", "451 4.7.1 Too many connections, try again later", Throttled),
    ("RCPT", "451 4.7.1 192.0.2.1 has been temporarily deferred", ProviderError),
    ("RCPT", "450 4.7.1 Policy", Throttled),
    ("RCPT", "452 Too many recipients this hour", Throttled),
    ("RCPT", "451 Local error", ProviderError),
    ("MAIL", "452 4.3.1 Insufficient system storage", ProviderError),
    ("CONNECT", "454 4.7.0 TLS not available", ProviderError),
    ("AUTH", "454 4.7.0 Temporary failure", ProviderError),
    ("MAIL", "503 5.5.1 Bad sequence", ProviderError),
    ("RCPT", "501 5.5.4 Bad address", UnsuitableError),
    ("RCPT", "599 What", type(None)),
    ("DATA", "571 Never", type(None)),
]


def test_a_reply_is_about_whom_it_says():
    wrong = [row for row in REPLIES if type(told(*row[:2])) is not row[2]]

    assert not wrong


@pytest.mark.parametrize(
    "reply", ["550 5.1.1 x", "550 5.1.10 x", "551 x", "556 x", "550 5.1.2 x"]
)
def test_a_mailbox_that_is_not_there_is_gone(reply):
    assert told("RCPT", reply).is_gone


@pytest.mark.parametrize(
    "reply", ["550 x", "550 5.1.0 x", "550 5.2.1 x", "553 x", "550 5.7.17 x"]
)
def test_a_mailbox_that_refuses_may_still_be_there(reply):
    failure = told("RCPT", reply)

    assert isinstance(failure, RecipientError)
    assert not failure.is_gone
