"""Addresses that only programs on this machine can reach."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(address: str) -> bool:
    """Whether an IP address is a loopback address; False for anything else, such as a name."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    # A listener for both address families reports IPv4 addresses as mapped IPv6 addresses.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def is_local_name(host: str) -> bool:
    """Whether a host name, or an address in its place, means this machine by itself (RFC 6761)."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)
