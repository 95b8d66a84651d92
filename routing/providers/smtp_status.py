"""What an SMTP reply means, and for whom: by its enhanced status if it has one.

RFC 3463 (X.subject.detail), RFC 5248 (the registry), RFC 7372 (SPF, DKIM), RFC 7505
(null MX), RFC 7293 (owners who changed), RFC 5321 §4.2 (basic codes).

X.1 is an address, X.2 a mailbox, X.3 and X.4 systems and networks, X.5 the protocol,
X.6 the content, and X.7 policy: what they think of us. 4 in front means for now, 5 for
good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from routing.providers.base import (
    AccountError,
    Greylisted,
    MailboxFull,
    MessageError,
    NotNow,
    ProviderError,
    RecipientError,
    SendFailure,
    Throttled,
    UnsuitableError,
)
from routing.providers.error_codes import UNAVAILABLE, Table

Maker = Callable[..., SendFailure]
GONE = partial(RecipientError, is_gone=True)  # there is no such mailbox

_ENHANCED = re.compile(r"(?:^\s*(?:\d{3}[ -])?|[#(]\s*)([245])\.(\d{1,3})\.(\d{1,3})\b")


@dataclass(frozen=True, slots=True)
class Enhanced:
    """An enhanced status, such as 5.1.1."""

    is_for_good: bool
    subject: int
    detail: int

    @classmethod
    def find(cls, text: str) -> Enhanced | None:
        """The one at the start, or marked as in "(#5.1.1)"; None if there is none."""
        match = _ENHANCED.search(text)
        if match is None:
            return None
        return cls(match[1] == "5", int(match[2]), int(match[3]))

    @property
    def key(self) -> str:
        """Without its class, as in the tables: "1.1"."""
        return f"{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered, and to which command of ours."""

    stage: str  # CONNECT (with EHLO and STARTTLS), AUTH, MAIL, RCPT or DATA
    code: int
    text: str

    @property
    def is_refusal(self) -> bool:
        """Whether it is a refusal, for now or for good."""
        return 400 <= self.code < 600

    @property
    def label(self) -> str:
        """The code on the attempt; an enhanced status is in the text beside it."""
        return f"{self.stage} {self.code}"


# For good, by enhanced status. For those that are not here, see SUBJECTS.
STATUSES: Table = {
    "1.1": GONE,  # bad mailbox
    "1.2": GONE,  # bad system: no such domain
    "1.3": GONE,  # bad syntax
    "1.6": GONE,  # moved away
    "1.7": AccountError,  # the sender's address: ours
    "1.8": AccountError,  # the sender's domain: ours
    "1.9": UnsuitableError,  # relayed to a system without such statuses
    "1.10": GONE,  # null MX
    "2.2": MailboxFull,  # somebody may empty it
    "2.3": UnsuitableError,  # too big for the mailbox, or at Google for the server
    "2.121": NotNow,  # Microsoft: the recipient's hourly limit
    "2.122": NotNow,
    "3.4": UnsuitableError,  # too big for the system
    "4.4": RecipientError,  # no route to the domain
    "4.6": RecipientError,  # mail to it loops
    "4.14": RecipientError,  # Microsoft's code for that
    "4.310": RecipientError,  # Microsoft: no such domain
    "5.6": AccountError,  # of a log-in
    "6.7": UnsuitableError,  # SMTPUTF8 needed, which the next server may have
    "6.8": UnsuitableError,
    "6.9": UnsuitableError,
    "7.2": UnsuitableError,  # a mailing list that is not open to us
    "7.3": UnsuitableError,
    "7.4": UnsuitableError,
    "7.5": UnsuitableError,
    "7.6": UnsuitableError,
    "7.7": UnsuitableError,
    "7.8": AccountError,  # credentials
    "7.9": AccountError,  # mechanism too weak
    "7.10": AccountError,  # encryption needed
    "7.11": AccountError,  # encryption needed for the log-in
    "7.12": AccountError,  # password transition
    "7.13": AccountError,  # account disabled
    "7.14": AccountError,  # trust relationship
    "7.15": UnsuitableError,  # priority too low
    "7.16": UnsuitableError,  # too big for its priority
    "7.17": RecipientError,  # the mailbox has another owner
    "7.18": RecipientError,  # the domain has another owner
    "7.19": RecipientError,  # its owner cannot be determined
    "7.20": AccountError,  # DKIM: ours, of all mail
    "7.21": AccountError,
    "7.22": AccountError,
    "7.23": AccountError,  # SPF
    "7.24": AccountError,
    "7.25": AccountError,  # reverse DNS
    "7.26": AccountError,  # several of these
    "7.27": AccountError,  # our sender's domain has a null MX
    "7.30": UnsuitableError,  # REQUIRETLS
}
SUBJECTS: dict[int, Maker] = {
    1: RecipientError,
    2: RecipientError,
    3: ProviderError,
    4: ProviderError,
    5: ProviderError,
    6: MessageError,
    7: ProviderError,
}

# For good, by command and basic code, where no enhanced status says more.
CODES: Table = {
    "CONNECT 521": UNAVAILABLE,  # accepts no mail at all (RFC 7504)
    "CONNECT 554": UNAVAILABLE,  # no SMTP service here, or not for us
    "MAIL 501": AccountError,  # syntax of FROM
    "MAIL 530": AccountError,  # authentication, or STARTTLS, required
    "MAIL 535": AccountError,
    "MAIL 550": AccountError,  # FROM not allowed
    "MAIL 551": AccountError,
    "MAIL 552": UnsuitableError,  # longer than the server's SIZE
    "MAIL 553": AccountError,  # FROM not allowed
    "MAIL 554": AccountError,
    "RCPT 501": UnsuitableError,  # syntax of the address, as this server knows it
    "RCPT 530": AccountError,
    "DATA 530": AccountError,
    "RCPT 550": RecipientError,  # mailbox unknown, or not for us: too vague for GONE
    "RCPT 551": GONE,  # not local
    "RCPT 552": MailboxFull,
    "RCPT 553": RecipientError,  # address not allowed
    "RCPT 554": ProviderError,  # refused without a reason
    "RCPT 556": GONE,  # the domain accepts no mail (RFC 7504)
    "DATA 550": MessageError,  # content refused
    "DATA 552": UnsuitableError,  # too big for this server
    "DATA 554": MessageError,  # content refused
}
_PROTOCOL = {500, 501, 502, 503, 504, 555}  # commands, or their order

# What a reply says about us in words, whatever its codes: block lists with our IP, SPF
# and the like of our domain, and relays that are not for us.
_ABOUT_US = re.compile(
    r"spamhaus|spamcop|barracuda|\b(dns|r)bl\b|(black|block|deny).?list|blocked using"
    r"|client host|reputation|\bip\b.{0,40}\b(block|listed|reject)"
    r"|reverse (dns|host)|\bptr\b|\b(spf|dkim|dmarc)\b|sender address rejected"
    r"|\b\d{1,3}(\.\d{1,3}){3}\b|\[(ipv6:)?[\da-f]*:[\da-f:]+\]",
    re.IGNORECASE,
)
_RELAYING = re.compile(
    r"relay(ing)? (access )?(is )?(denied|not permitted|not allowed|prohibited)"
    r"|unable to relay|(not permitted|not allowed) to relay",
    re.IGNORECASE,
)
# Who may send, from which address, and how much: for relays that check our account only
# after the body (Amazon SES, SendGrid, Microsoft, Google).
_ABOUT_ACCOUNT = re.compile(
    r"address is not verified|verified sender|sender identity|free accounts?\b"
    r"|not authori[sz]ed to perform|(not allowed|permissions?) to send as\b"
    r"|send ?as ?denied|sending account|sending (is |has been )?(paused|suspended"
    r"|disabled)|your ([\w-]{1,20} )?account (is|has been|was) (\w{1,20} )?(suspended"
    r"|disabled|paused|blocked|locked|activated)"
    r"|(sending|submission|relay) ?(limit|quota)"
    r"|(you have|you've) (reached|exceeded) your\b.{0,30}\b(limit|quota)",
    re.IGNORECASE,
)
_ABOUT_RECIPIENT = re.compile(
    r"recipient(?: address)? rejected|recipients?permission|authrequired"
    r"|sendernotauthenticatedfor"
    r"|(user|recipient|mailbox|group)\b.{0,30}\b(not (allowed|permitted|authori[sz]ed)"
    r"|restricted|only accepts)|not (allowed|permitted|authori[sz]ed) to "
    r"(receive|send to this (recipient|group|user|mailbox))",
    re.IGNORECASE,
)
# Yahoo says so after the body, and without an enhanced status.
_NOBODY_IS_THERE = re.compile(
    r"(user|recipient|account|mailbox|address)\W+(is |was )?(unknown|not found|"
    r"(does not|doesn't) (exist|have an?\b.{0,30}\baccount))"
    r"|unknown (user|recipient)|no such (user|account|mailbox|address|recipient)",
    re.IGNORECASE,
)
_ABOUT_CONTENT = re.compile(
    r"spam|virus|malware|phish|content|attachment|unsolicited", re.IGNORECASE
)
# That we send too fast; Amazon SES: "454 Throttling failure".
_THROTTLING = re.compile(r"throttl|too many|rate.?limit", re.IGNORECASE)
_GREYLISTING = re.compile(r"gr[ea]y-?list", re.IGNORECASE)
# What servers say instead, of a policy and about one recipient.
_COME_BACK = re.compile(
    r"come back|(try|retry|send)( it)? again|again later"
    r"|temporarily (deferred|rejected)",
    re.IGNORECASE,
)


def says_nobody_is_there(status: Enhanced) -> bool:
    """Whether, if for good, it means that there is no such mailbox."""
    return STATUSES.get(status.key) is GONE


def names_nobody(text: str) -> bool:
    """Whether the text says that there is no such mailbox."""
    return bool(_NOBODY_IS_THERE.search(text))


def kind_of(reply: Reply) -> Maker | None:
    """What a refusal means; None if nothing tells."""
    status = Enhanced.find(reply.text)
    if reply.code < 500:
        return _for_now(reply, status)
    if reply.stage == "AUTH" or _is_about_account(reply, status):
        return AccountError
    if status is None or status.subject == 0 or _is_about_mailbox(reply, status):
        return _without_status(reply)
    if status.subject == 7:
        return _policy(reply, status)
    return _for_good(reply, status)


def _is_about_account(reply: Reply, status: Enhanced | None) -> bool:
    """530 asks for a log-in, or TLS before it, at any stage (RFC 4954, RFC 3207)."""
    if status is not None and says_nobody_is_there(status):
        return False
    is_after_greeting = reply.stage != "CONNECT"
    return is_after_greeting and (
        reply.code == 530 or bool(_ABOUT_ACCOUNT.search(reply.text))
    )


def _is_about_mailbox(reply: Reply, status: Enhanced) -> bool:
    """Outlook.com answers "550 5.5.0 mailbox unavailable" for unknown recipients. That
    is no protocol error: those have basic codes of their own.
    """
    is_vague = status.key in {"5.0", "5.1"}
    return reply.stage == "RCPT" and is_vague and reply.code not in _PROTOCOL


def _for_good(reply: Reply, status: Enhanced) -> Maker | None:
    """X.1 to X.6. Up to MAIL, the address is our own."""
    is_before_recipient = reply.stage in {"CONNECT", "MAIL"}
    if is_before_recipient and status.subject in {1, 2} and status.key != "2.3":
        return AccountError
    if reply.stage == "RCPT" and status.key in {"5.2", "5.4"}:
        return UnsuitableError  # the server does not understand this address
    if status.subject == 4 and _ABOUT_RECIPIENT.search(reply.text):
        return RecipientError  # Microsoft means that there is no such recipient
    return STATUSES.get(status.key) or SUBJECTS.get(status.subject)


def _policy(reply: Reply, status: Enhanced) -> Maker:
    """X.7. Before RCPT it is about us; after the body, it may be about the content; in
    between, about a recipient who does not accept mail from everybody.
    """
    if status.key in STATUSES:
        return STATUSES[status.key]
    if reply.stage in {"CONNECT", "MAIL"} or _RELAYING.search(reply.text):
        return AccountError
    if _ABOUT_US.search(reply.text):
        return ProviderError
    if _ABOUT_RECIPIENT.search(reply.text):
        return UnsuitableError
    if reply.stage == "DATA" and _ABOUT_CONTENT.search(reply.text):
        return MessageError
    return ProviderError


def _without_status(reply: Reply) -> Maker | None:
    """By the basic code, unless the text is about us or relaying."""
    if reply.stage in {"RCPT", "DATA"}:
        if _RELAYING.search(reply.text):
            return AccountError
        if _ABOUT_US.search(reply.text):
            return ProviderError
        if names_nobody(reply.text):
            return RecipientError
    if maker := CODES.get(f"{reply.stage} {reply.code}"):
        return maker
    if reply.stage == "CONNECT" or reply.code in _PROTOCOL:
        return ProviderError
    return None


def _for_now(reply: Reply, status: Enhanced | None) -> Maker:
    """Greylisting is about one recipient; 454 4.7.0 at AUTH is the server's fault (RFC
    4954). Slowing down does not help against a full disk.
    """
    if reply.stage == "AUTH":
        return ProviderError
    if _is_greylisting(reply, status):
        return Greylisted
    if _is_recipients(reply, status):
        return MailboxFull if status and status.key == "2.2" else NotNow
    if _is_rate(reply, status):
        return Throttled
    return UNAVAILABLE if reply.code == 421 else ProviderError


def _is_greylisting(reply: Reply, status: Enhanced | None) -> bool:
    """Whether their server takes the mail at a later try; many do not say so by name:
    450 or 451, 4.7.0 or 4.7.1 and "try again later" (RFC 6647).
    """
    if reply.stage not in {"RCPT", "DATA"} or reply.code == 421:
        return False
    if _GREYLISTING.search(reply.text):
        return True
    is_policy = status is not None and status.key in {"7.0", "7.1"}
    is_about_us = _ABOUT_US.search(reply.text) or _THROTTLING.search(reply.text)
    return bool(
        is_policy
        and reply.stage == "RCPT"
        and reply.code in {450, 451}
        and _COME_BACK.search(reply.text)
        and not is_about_us
    )


def _is_recipients(reply: Reply, status: Enhanced | None) -> bool:
    if reply.stage not in {"RCPT", "DATA"} or reply.code == 421:
        return False
    if status is None or status.subject == 0:
        is_about_us = _ABOUT_US.search(reply.text) or _THROTTLING.search(reply.text)
        return reply.stage == "RCPT" and reply.code == 450 and not is_about_us
    if status.key in {"1.7", "1.8"}:
        return False
    return status.subject in {1, 2} or status.key in {"4.4", "4.6"}


def _is_rate(reply: Reply, status: Enhanced | None) -> bool:
    if _THROTTLING.search(reply.text):
        return True
    if status is None or status.subject != 7 or reply.code == 454:
        return False  # 454: TLS or log-in is out of order at the moment
    return status.key not in STATUSES and not _ABOUT_US.search(reply.text)
