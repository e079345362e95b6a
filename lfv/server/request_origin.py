"""The origin of requests: a program on this machine, a web page, a proxy or another machine."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from lfv.formats.loopback import is_local_name, is_loopback
from lfv.server.errors import AccessDeniedError

#: Headers that proxies add.
_FORWARDED = (
    *("forwarded", "via", "x-real-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"),
)


def headers_of(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """Return headers by lower-case name; repeated headers are joined by commas."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def check_local(headers: Mapping[str, str]) -> None:
    """Refuse web pages, which can send requests to a loopback address.

    Their requests have an Origin header or, after DNS rebinding, the page's host in the Host
    header. Raises AccessDeniedError.
    """
    if "origin" in headers:
        raise AccessDeniedError("requests from web pages are not answered")
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if not is_local_name(name):
        raise AccessDeniedError("the Host header does not name this machine")


def is_from_here(scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether a request is from a local program that is neither a proxy nor a web page."""
    if not _is_direct_from_here(scope, headers):
        return False
    try:
        check_local(headers)
    except AccessDeniedError:
        return False
    return True


def is_private(scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether the request is safe from third parties: over TLS, or within this machine.

    A proxy on this machine that terminates TLS sends ``X-Forwarded-Proto: https``.
    """
    if scope.get("scheme") == "https" or _is_direct_from_here(scope, headers):
        return True
    return _client_is_here(scope) and headers.get("x-forwarded-proto", "").lower() == "https"


def path_before_proxy(raw_path: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the path that the client signed. Proxies send a removed prefix in a header."""
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    return prefix.encode("latin-1") + raw_path


def _is_direct_from_here(scope: MutableMapping[str, Any], headers: Mapping[str, str]) -> bool:
    return _client_is_here(scope) and not any(name in headers for name in _FORWARDED)


def _client_is_here(scope: MutableMapping[str, Any]) -> bool:
    client = scope.get("client")
    return client is not None and is_loopback(client[0])
