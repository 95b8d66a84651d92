"""Which URLs have a public https host: only these are passed on to providers.

Pure: no name is looked up. We never fetch such a URL; the provider does, and must check
what a name resolves to. This check keeps addresses of private networks, and odd
spellings of addresses, out of messages, logs and providers.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network

URL_LIMIT = 2048  # characters

_URL = re.compile(
    r"https://(?P<host>\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9.-]+)(?P<port>:[0-9]*)?/[!-\[\]-~]*"
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Not in the public DNS, by RFC 6761, 6762, 8375, 9476, ICANN's decision or custom.
_PRIVATE_DOMAINS = {
    *("alt", "arpa", "corp", "home", "internal", "intranet", "lan", "local"),
    *("localdomain", "localhost", "onion", "private"),
}
# The global part of IPv6, and its networks that embed an IPv4 address.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))  # Teredo, 6to4


def problem_with_url(url: str) -> str:
    """Why it is not an https URL on a public host, to be read after "it"; "" if it is.

    The pattern refuses everything that libraries disagree about (spaces, backslashes,
    userinfo, other alphabets).
    """
    if len(url) > URL_LIMIT:
        return f"is longer than {URL_LIMIT} characters"
    match = _URL.fullmatch(url)
    if match is None:
        return "is not an https URL of plain ASCII characters with a host and a path"
    if match["port"] not in {None, ":443"}:
        return "names a port other than 443"
    return problem_with_host(match["host"].lower())


def problem_with_host(host: str) -> str:
    """Why it is not a host on the public internet, to be read after "it"; "" if it is.

    `host` is in lower case, with an IPv6 address in brackets.
    """
    if host.startswith("["):
        return (
            "" if _is_public_v6(host[1:-1]) else "names an address that is not public"
        )
    labels = host.split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):  # then it is read as IPv4
        return "" if _is_public_v4(host) else "names an address that is not public"
    if not all(map(_LABEL.fullmatch, labels)) or len(host) > 253:
        return "names a host that is not a domain name"
    if len(labels) < 2 or labels[-1] in _PRIVATE_DOMAINS:
        return "names a host in a private network"
    return ""


def _is_public_v4(text: str) -> bool:
    """Whether it is a public address in plain dotted decimal: only some programs read
    spellings such as 127.1, 0x7f.1 and 017.0.0.1.
    """
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return address.is_global and not address.is_multicast


def _is_public_v6(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    return (
        address.is_global
        and address in _GLOBAL_UNICAST
        and not any(address in network for network in _TRANSLATED)
    )
