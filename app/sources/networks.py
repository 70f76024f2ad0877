"""Which IP addresses the server may connect to (SECURITY.md 10 and 12). Pure: no name is resolved.

`ipaddress.is_global` differs between Python versions and says nothing of IPv4 addresses that travel
inside IPv6 ones, so the tables are written out here. Sources: the IANA special-purpose address
registries for IPv4 and IPv6 (RFC 6890 and its updates), and the addresses of cloud metadata
services that lie in public space.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CLOSED_4 = [
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's shared network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud platform's own service"),
        ("169.254.0.0/16", "a link-local or cloud metadata address"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.31.196.0/24", "reserved for protocols"),
        ("192.52.193.0/24", "reserved for protocols"),
        ("192.88.99.0/24", "a retired 6to4 relay"),
        ("192.168.0.0/16", "a private network"),
        ("192.175.48.0/24", "reserved for protocols"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "a multicast group"),
        ("240.0.0.0/4", "reserved or broadcast"),
    )
]
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_CLOSED_6 = [
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "this network"),
        ("::1/128", "this machine"),
        ("::ffff:0:0:0/96", "an IPv4 address translated to IPv6"),
        ("::/96", "an IPv4 address written as IPv6"),
        ("64:ff9b:1::/48", "a private IPv4 translation"),
        ("2001::/23", "Teredo or reserved for protocols"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("2620:4f:8000::/48", "reserved for protocols"),
        ("3fff::/20", "reserved for documentation"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a retired site-local address"),
        ("ff00::/8", "a multicast group"),
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
# ISATAP (RFC 5214): interface identifier 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


def why_closed(address: Address) -> str | None:
    """What kind of forbidden place this is ("a private network"); None for the open internet."""
    if isinstance(address, IPv4Address):
        return next((name for network, name in _CLOSED_4 if address in network), None)
    if address.scope_id:
        return "a link-local address"
    if address.ipv4_mapped is not None:
        return why_closed(address.ipv4_mapped)
    low = int(address) & 0xFFFFFFFF
    if address in _NAT64:
        return why_closed(IPv4Address(low))
    for network, name in _CLOSED_6:
        if address in network:
            return name
    if address not in _GLOBAL_UNICAST_6:
        return "outside the public IPv6 space"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return why_closed(IPv4Address(low)) or "an ISATAP tunnel"
    return None


def lies_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of `networks` holds the address; ::ffff:a.b.c.d counts as a.b.c.d."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in networks)
