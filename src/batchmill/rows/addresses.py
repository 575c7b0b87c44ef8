"""Which internet addresses a stranger's link may lead to: none that only this network can see."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

BARRED = "it leads to a private or local address"

#: Platforms that answer here hand out a machine's own secrets, from addresses that look public.
_PLATFORMS = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's (its page "What is IP address 168.63.…")
    ipaddress.ip_network("192.0.0.0/24"),  # Oracle's is among these; not public by RFC 6890
)

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BarredError(OSError):
    """A link leads where it may not; the address stays unsaid, as a stranger may read this."""

    def __init__(self) -> None:
        super().__init__(BARRED)


def is_public(address: str) -> bool:
    """
    Say whether anybody on the internet can reach *address*, an IP address in its usual spelling.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4, Teredo) is no more public than
    that.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if (same := _same_in_ipv4(found)) is not None:
            return _is_public(same)
        via = (found.sixtofour, *(found.teredo or ()))
        return _is_public(found) and all(_is_public(v) for v in via if v is not None)
    return _is_public(found)


def sockets_for(allowed: Callable[[str], bool]) -> Callable[[Any], socket.socket]:
    """
    Return what makes a socket for an address of `getaddrinfo`; `BarredError` if it is not allowed.

    An HTTP client asks it about each address just before it connects to it, so neither an odd
    spelling nor a name that means something else by then gets past.
    """

    def made(address: Any) -> socket.socket:
        family, kind, protocol, _, (host, *_) = address
        if not allowed(host):
            raise BarredError
        return socket.socket(family, kind, protocol)

    return made


def _is_public(address: _Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _PLATFORMS)
        and not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
    )


def _same_in_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return what a network that speaks only IPv6 means by *address*, if that is an IPv4 one."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped
