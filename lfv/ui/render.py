"""Renders pages from templates: those of the reports, and the server's own."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse, Response

from lfv.report.figures import Shown
from lfv.report.render import make_environment, stylesheet

if TYPE_CHECKING:
    from lfv.ui.routing import Call

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def page(call: Call, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render `template` with `values` for the visitor of this call."""
    text = (
        _environment()
        .get_template(template)
        .render(
            visitor=call.visitor,
            logged_in=bool(call.visitor.name),
            form_token=call.form_token,
            path=call.request.url.path,
            asset=asset_address,
            **values,
        )
    )
    return HTMLResponse(text, status)


@cache
def _environment() -> Environment:
    environment = make_environment(PackageLoader("lfv.ui", "templates"))
    # Escaped, but neither shortened nor altered, for form fields that are sent back.
    environment.filters["exact"] = Shown
    return environment


@cache
def asset(name: str) -> bytes | None:
    """Return a style sheet or script, or None."""
    if name == "style.css":
        return (stylesheet() + _file("ui.css").decode()).encode()
    known = {file.name for file in (resources.files("lfv.ui") / "static").iterdir()}
    return _file(name) if name in known else None


def asset_address(name: str) -> str:
    """Return the address of an asset, which changes with its content."""
    digest = hashlib.sha256(asset(name) or b"").hexdigest()[:12]
    return f"/assets/{name}?{digest}"


def _file(name: str) -> bytes:
    return (resources.files("lfv.ui") / "static" / name).read_bytes()
