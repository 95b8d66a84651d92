"""One mailbox has one address, however it is spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.text.email_addresses import (
    EmailAddressError,
    canonical_email,
    is_same_mailbox,
    mailbox_key,
)

ADA = "ada@example.com"
# The first and last character of each range of Default_Ignorable_Code_Point.
INVISIBLE = [
    *"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180f\u200b\u200f",
    *"\u202a\u202e\u2060\u206f\u3164\ufe00\ufe0f\ufeff\uffa0\ufff0\ufff8",
    *"\U0001bca0\U0001bca3\U0001d173\U0001d17a\U000e0000\U000e0041\U000e0fff",
]


@pytest.mark.parametrize(
    "form", ["{}ada@example.com", "a{}da@ex{}ample.com", "ada@{}example.com{}"]
)
def test_what_cannot_be_seen_makes_no_other_mailbox(form, subtests):
    for mark in INVISIBLE:
        with subtests.test(mark=ascii(mark)):
            assert canonical_email(form.replace("{}", mark)) == ADA


@pytest.mark.parametrize(
    "spelling",
    [
        " Ada@Example.COM\t",
        "ada＠example．com",
        "ada﹫example。com｡",
        "ａｄａ@ｅxample.com",
        "ada@example.com.",
        '"ada"@example.com',
        '"a\\da"@example.com',
        "ada@ex\u200dample.com",
    ],
)
def test_another_spelling_is_the_same_mailbox(spelling):
    assert canonical_email(spelling) == ADA
    assert is_same_mailbox(spelling, "ADA@EXAMPLE.COM")


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@BU\u0308CHER.example", "bob@xn--bcher-kva.example"),
        ("bob@XN--BCHER-KVA.Example", "bob@xn--bcher-kva.example"),
        ("bob@faß.example", "bob@xn--fa-hia.example"),
        ("bob@fass.example", "bob@fass.example"),
        ("bob@βόλος.example", "bob@xn--nxasmm1c.example"),
        ("bob@βόλοσ.example", "bob@xn--nxasmq6b.example"),
        ("bob@İstanbul.example", "bob@xn--istanbul-o0e.example"),
        ("bob@क्\u200dष.example", "bob@xn--11b2ezcw70k.example"),
        ("bob@क्ष.example", "bob@xn--11b2ezc.example"),
        ("bob@ab--cd.example", "bob@ab--cd.example"),
        ("bob@Ⅷ.example", "bob@viii.example"),
        ('"bob lee"@example.com', '"bob lee"@example.com'),
        ("bob@[2001:0DB8::0001]", "bob@[2001:db8::1]"),
    ],
)
def test_a_domain_is_what_dns_knows(spelling, expected):
    assert canonical_email(spelling) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("адa@example.com", "'а' before the @"),
        ("josé@example.com", "'é' before the @"),
        ("İ@example.com", "'İ' before the @"),
        ("ada\ud800@example.com", r"'\\ud800' before the @"),
        ("ada@\u0378.example", "domain is not valid"),
        ("ada@❤.example", "domain is not valid"),
        ("ada@xn--a.example", "domain is not valid"),
        ("ada@exam℀ple.com", "domain is not valid"),
        ("ada@exam ple.cöm", "domain is not valid"),
        (f"ada@{'ü' * 60}.example", "domain is not valid"),
        (f"ada@{'ü.' * 60}example", "longer than 254"),
        ("\u200b" * 5000 + ADA, "longer than 254"),
    ],
)
def test_what_no_provider_could_send_to_is_refused_with_a_reason(text, reason):
    with pytest.raises(EmailAddressError, match=reason):
        canonical_email(text)


@given(st.text(), st.text(min_size=1))
def test_any_text_has_a_form_that_stays_or_is_refused(local, domain):
    text = f"{local}@{domain}"
    try:
        form = canonical_email(text)
    except EmailAddressError:
        assert mailbox_key(text) == mailbox_key(mailbox_key(text))
        return
    assert form.isascii()
    assert canonical_email(form) == form == mailbox_key(text)
