"""Where a request comes from, also behind proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_PROXIES = 20  # in a row; what stands before them in the header is not looked at


def networks_of(texts: Iterable[str]) -> list[Network]:
    """Addresses and networks as they stand in TRUSTED_PROXIES; ValueError names one."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def client_address(request: HttpRequest) -> str:
    """The nearest address that is not one of our proxies; "" where there is none.

    Each proxy adds the caller that it saw to the end of X-Forwarded-For. What stands
    before the last one that we trust may be the caller's own invention.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    hops = forwarded.rsplit(",", MOST_PROXIES)[-MOST_PROXIES:]
    return nearest_stranger([*hops, peer], settings.TRUSTED_PROXIES)


def network_of(address: str) -> str:
    """What one caller has of addresses: an IPv4 address, or a network of IPv6."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if known.version == 4:
        return address
    return str(ipaddress.ip_network(f"{known}/64", strict=False))


def nearest_stranger(hops: Sequence[str], trusted: Iterable[Network]) -> str:
    """The last hop that is not trusted, else the first that can be read."""
    found = ""
    trusted = list(trusted)
    for hop in reversed(hops):
        address = _read(hop)
        if address is None:
            if hop is hops[-1]:
                continue  # a socket in the file system: the proxy of this host
            break
        found = str(address)
        if not any(address in network for network in trusted):
            break
    return found


def _read(text: str) -> Address | None:
    """An address, perhaps with a port; IPv4 that is wrapped in IPv6 as IPv4."""
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
