"""Rules for addresses in settings."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lfv.formats.loopback import is_local_name


def without_password(url: str) -> str:
    """Return a database URL with its password replaced by `***`."""
    try:
        if urlsplit(url).password is None and "password=" not in url.lower():
            return url
    except ValueError:
        pass  # not a URL; hide whatever looks like a password
    hidden = re.sub(r"(//[^/@:]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", hidden)


def is_https_or_loopback(address: str) -> bool:
    """Return whether traffic to an address is encrypted or stays on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and is_local_name(parts.hostname or "")
