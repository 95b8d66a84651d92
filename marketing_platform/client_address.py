"""The client address of a request, even behind proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_PROXIES = 20  # in a row; earlier entries of the header are ignored


def networks_of(texts: Iterable[str]) -> list[Network]:
    """Addresses and networks from TRUSTED_PROXIES; raises ValueError for a bad one."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def client_address(request: HttpRequest) -> str:
    """The nearest address that is not one of our proxies; "" if there is none.

    Each proxy adds its caller to the end of X-Forwarded-For. Entries before the last
    trusted proxy's may be forged by the caller.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    hops = forwarded.rsplit(",", MOST_PROXIES)[-MOST_PROXIES:]
    return nearest_stranger([*hops, peer], settings.TRUSTED_PROXIES)


def network_of(address: str) -> str:
    """The addresses of one caller: an IPv4 address, or an IPv6 network."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if known.version == 4:
        return address
    return str(ipaddress.ip_network(f"{known}/64", strict=False))


def nearest_stranger(hops: Sequence[str], trusted: Iterable[Network]) -> str:
    """The last hop that is not trusted, else the first valid one."""
    found = ""
    trusted = list(trusted)
    for hop in reversed(hops):
        address = _read(hop)
        if address is None:
            if hop is hops[-1]:
                continue  # a Unix socket: the proxy on this host
            break
        found = str(address)
        if not any(address in network for network in trusted):
            break
    return found


def _read(text: str) -> Address | None:
    """An address, possibly with a port; IPv4 mapped to IPv6 becomes IPv4."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
