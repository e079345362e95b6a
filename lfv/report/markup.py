"""HTML that cannot be forgotten to escape: text becomes markup in `tag` only.

File names and attributes come from strangers.  Every `str` given to `tag` is escaped; only what
`tag` itself returned, an `Html`, is taken as markup.  Links are never made from data.
"""

from __future__ import annotations

from html import escape
from typing import Final

#: Elements without content.
_VOID: Final = frozenset({"br", "hr", "img", "input", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """One element.  A child that is `Html` is kept, None is left out, a list or tuple is spread,
    anything else is shown as text.  A trailing underscore (``class_``) and inner underscores
    (``aria_label``) give attribute names; an attribute is left out when None or False, and has no
    value when True."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """The children after one another, escaped as in `tag`."""
    return Html("".join(_child(child) for child in children))


def visible(value: object, limit: int = 300) -> str:
    """`value` as text of at most `limit` characters, in which what is invisible or turns the
    writing direction is written as an escape, so that no name can pretend to be another."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "backslashreplace").decode("ascii")
        for letter in text
    )


def _child(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return "".join(_child(one) for one in child)
    return escape(str(child), quote=True)


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'
