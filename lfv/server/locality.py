"""Who asks: a program of this machine, a web page in its browser, or somebody else."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from lfv.server.errors import AccessDeniedError

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


def headers_of(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """Headers by lower-case name; those that come more than once are joined by commas."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def check_local(headers: Mapping[str, str]) -> None:
    """Without keys, programs on this machine are answered, and web pages in its browser not.

    A page can send requests to a loopback address; they carry an Origin, or, after DNS rebinding,
    the page's own Host. Raises AccessDeniedError.
    """
    if "origin" in headers:
        raise AccessDeniedError("requests from web pages are not answered")
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return
    if not _is_loopback(name):
        raise AccessDeniedError("the Host header does not name this machine")


def is_from_here(scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether a program of this machine asks for itself: no proxy for others, and no web page."""
    client = scope.get("client")
    if client is None or not _is_loopback(client[0]):
        return False
    if any(name in headers for name in _FORWARDED):
        return False
    try:
        check_local(headers)
    except AccessDeniedError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    # What a listener for both families calls an IPv4 address.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback
