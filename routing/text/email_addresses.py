"""The canonical form of an e-mail address, for storing, comparing and sending. Pure.

A mailbox can be spelled in many ways that look the same: with invisible characters,
full-width letters, a domain in its own script or in punycode. A recipient who opted out
under one spelling has opted out under all of them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from unicodedata import normalize

import idna

from routing.text.invisible import IGNORABLE, JOINERS

LENGTH_LIMIT = 254  # characters (RFC 5321, with the erratum 1690 of RFC 3696)
_RAW_LIMIT = 1000  # before invisible characters are removed

# Most addresses of a list: ASCII without quotes or punycode only needs lower case.
_PLAIN = re.compile(r"\A[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]++@[A-Za-z0-9.-]*[A-Za-z0-9]")
_ATOMS = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_JOINERS = re.compile(f"[{JOINERS}]")
# Not the two joiners: some scripts' domains need them.
_INVISIBLE = re.compile(f"(?![{JOINERS}])[{IGNORABLE}]")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r'(["\\])')


class EmailAddressError(ValueError):
    """The address has no canonical form."""


def canonical_email(text: str) -> str:
    """The canonical form: ASCII in lower case, the domain as in DNS (IDNA 2008).

    No mailbox in use distinguishes upper from lower case, and no one wants the same
    e-mail twice. The caller checks whether it is an address at all.
    """
    if len(text) > _RAW_LIMIT:
        raise EmailAddressError(f"it is longer than {LENGTH_LIMIT} characters")
    text = text.strip()
    if not (_PLAIN.fullmatch(text) and "xn--" not in text.lower()):
        text = _rewritten(text)
    if len(text) > LENGTH_LIMIT:
        raise EmailAddressError(f"it is longer than {LENGTH_LIMIT} characters")
    return text.lower()


def mailbox_key(text: str) -> str:
    """What to compare addresses by: the canonical form or, if there is none, the text.

    For addresses that are already stored, or come from a provider, and cannot be
    refused.
    """
    try:
        return canonical_email(text)
    except EmailAddressError:
        return text.strip().lower()


def is_same_mailbox(one: str, other: str) -> bool:
    """Whether two spellings mean the same address."""
    return mailbox_key(one) == mailbox_key(other)


def _rewritten(text: str) -> str:
    text = normalize("NFKC", _INVISIBLE.sub("", text)).strip("\u200c\u200d").strip()
    local, at, domain = text.rpartition("@")
    return f"{_local(local)}{at}{dns_domain(domain)}"


def _local(text: str) -> str:
    """The part before the @, in quotes only if necessary.

    Letters beyond ASCII need SMTPUTF8 (RFC 6531) at every server on the way, which
    neither SendGrid nor our SMTP supports.
    """
    text = _JOINERS.sub("", text)
    if foreign := next((each for each in text if not each.isascii()), None):
        raise EmailAddressError(
            f"it has {foreign!r} before the @, where our e-mail providers accept "
            "only ASCII"
        )
    text = text.lower()
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    content = _QUOTED_PAIR.sub(r"\1", text[1:-1])
    if _ATOMS.fullmatch(content):
        return content
    escaped = _TO_ESCAPE.sub(r"\\\1", content)
    return f'"{escaped}"'


def dns_domain(text: str) -> str:
    """The domain of an address as in DNS, in lower case.

    Label by label: an ASCII label may break rules that IDNA has for other labels.
    """
    if text.startswith("["):
        return _literal(text)
    try:
        labels = idna.uts46_remap(text).removesuffix(".").split(".")
        return ".".join(map(_label, labels))
    except idna.IDNAError as error:
        reason = str(error).partition(" at position")[0][:40]  # the rest quotes it
        raise EmailAddressError(f"its domain is not valid: {reason}") from None


def _label(text: str) -> str:
    """The label as in DNS; joiners count only where IDNA allows them."""
    if text.isascii() and not text.startswith("xn--"):
        return text
    try:
        return idna.alabel(text).decode("ascii")
    except idna.IDNAError:
        joined = _JOINERS.sub("", text)
        if joined == text:
            raise
        return _label(joined)


def _literal(text: str) -> str:
    try:
        return f"[{ip_address(text.strip('[]'))}]"
    except ValueError:
        return text
