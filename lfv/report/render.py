"""Jinja2 templates, and the rules that hold for every page made from them.

Every value is escaped. Characters that are invisible or change the writing direction are shown as
escapes, so that no file name can pass for another. A page loads nothing from elsewhere: style sheet
and script are inline, pictures are inline or files next to the page, and its content security
policy forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lfv.formats.words import escaped
from lfv.report import figures
from lfv.report.figures import Shown

_TEMPLATES = "templates"
_LONGEST = 300


def visible(value: object, limit: int = _LONGEST) -> Shown:
    """Return `value` as text of at most `limit` characters, without characters that deceive."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return Shown(escaped(text))


def render(template: str, *, links_pictures: bool = False, **values: Any) -> str:
    """Render `template` with `values`.

    Args:
        template: Its file name.
        links_pictures: Whether the page may show pictures of other files.
        values: What the template shows.
    """
    page: str = (
        _environment()
        .get_template(template)
        .render(
            style=Markup(stylesheet()),  # noqa: S704 - a file of this package
            script=Markup(_asset("report.js")),  # noqa: S704
            content_policy=_content_policy(
                _asset("report.js"), "data: file:" if links_pictures else "data:"
            ),
            **values,
        )
    )
    return page


def write_page(path: Path, page: str) -> None:
    """Write `page` to `path`, which is complete whenever it exists. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")
    unfinished.replace(path)


def _finalize(value: object) -> object:
    if value is None:
        return ""
    return value if isinstance(value, Markup | Shown) else visible(value)


@cache
def _environment() -> Environment:
    return make_environment()


def make_environment(*before: BaseLoader) -> Environment:
    """Return an environment for pages with our filters; templates of `before` come first."""
    environment = Environment(
        loader=ChoiceLoader([*before, PackageLoader("lfv.report", _TEMPLATES)]),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "whole": figures.whole,
        "percent": figures.percent,
        "percent_of_area": figures.percent_of_area,
        "duration": figures.duration,
        "moment": figures.moment,
        "money": figures.money,
        "person": figures.person,
        "score": figures.score,
        "picture": _picture,
        "color": figures.color,
    }
    return environment


def _picture(data: bytes | str) -> Shown | Markup:
    """Return the address of an image: one that holds it, or that of its file."""
    if isinstance(data, str):
        return Shown(data)
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    text = base64.b64encode(data).decode("ascii")
    return Markup(f"data:image/{kind};base64,{text}")  # noqa: S704 - base64 needs no escaping


def stylesheet() -> str:
    """Return the style sheet of all pages."""
    return _asset("style.css")


@cache
def _asset(name: str) -> str:
    return (resources.files("lfv.report") / _TEMPLATES / name).read_text(encoding="utf-8")


def _content_policy(script: str, pictures: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def facts(pairs: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return the pairs whose value is neither None nor empty."""
    return [(name, value) for name, value in pairs.items() if value is not None and value != ""]
