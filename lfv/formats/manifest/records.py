"""Items and bad lines, the records read from a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lfv.formats.words import escaped

#: Maximum number of characters shown of a bad line.
SHOWN_CHARS = 200
_SHOWN_AROUND = 16


class ManifestKind(StrEnum):
    JSON_LINES = "jsonl"
    CSV = "csv"
    TEXT = "text"
    FOLDER = "folder"
    PREFIX = "s3-prefix"
    IMAGE = "image"


@dataclass(frozen=True)
class ManifestItem:
    """An image to inspect or train on.

    `line_number` counts from 1 and is unique in a manifest; in a folder or prefix it is the
    position in the sorted listing. `source_ref` is an `s3://` reference or an absolute path,
    `written_ref` the reference as written in the manifest. `is_anomalous` is the label, None
    without one. `mask_colors` maps '#RRGGBB' to anomaly types as the line gives them, with or
    without BACKGROUND. `plain_masks` lists the mask files of an image whose masks have no colour
    map, and `mask_ref` is then the first of them; the anomaly is where any of them is not black.
    `attributes` holds everything else on the line, in values that JSON can represent.
    `label_attribute` names the attribute that holds the label; `found_label` is a class or folder
    name that is not known as a label.
    """

    line_number: int
    source_ref: str
    written_ref: str
    is_anomalous: bool | None = None
    mask_ref: str | None = None
    mask_colors: Mapping[str, str] = field(default_factory=dict)
    plain_masks: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    label_attribute: str | None = None
    found_label: str | None = None


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be used, and why.

    `text` is the start of the line, made printable. `code` is stable; docs/manifests.md lists all
    codes.
    """

    line_number: int
    text: str
    code: str
    message: str


class LineError(Exception):
    """An unusable line, raised while it is read and turned into a BadLine by the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def around(line: bytes, at: int) -> str:
    """Return a few characters of a line around byte `at`, to end a sentence; '' if none."""
    start = max(0, at - _SHOWN_AROUND)
    shown = printable(line[start : at + _SHOWN_AROUND]).strip()
    if not shown:
        return ""
    more = ("…" if start else "", "…" if at + _SHOWN_AROUND < len(line) else "")
    return f": {more[0]}{shown}{more[1]}"


def not_utf8(line: bytes, error: UnicodeDecodeError) -> LineError:
    """Return the error for a line whose decoding raised `error`."""
    where = around(line, error.start)
    return LineError(
        "not_utf8",
        f"Byte {error.start + 1} of the line is not UTF-8{where}; save the file as UTF-8.",
    )


def printable(line: bytes | str) -> str:
    """Return the start of a line with unprintable characters escaped, safe for any database."""
    text = line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line
    shown = escaped(text[: SHOWN_CHARS + 1].rstrip("\r\n"))
    return shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"
