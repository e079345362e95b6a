"""What reading a manifest yields: items and bad lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SHOWN_CHARS = 200
"""How much of a bad line is kept for people."""
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
    """One image to look at.

    `line_number` counts from 1 and is unique in a manifest; in a folder or prefix it is the
    position in the sorted listing. `source_ref` is what SourceReader takes (an `s3://` reference
    or an absolute path), `written_ref` is what the manifest says. `is_anomalous` is the label,
    None where there is none. `mask_colors` maps '#RRGGBB' to anomaly types as the line gives them;
    an entry for BACKGROUND may be there or not. `plain_masks` are the mask files of an image whose
    masks come without a colour map, `mask_ref` the first of them: what is not black in any of them
    is the anomaly. `attributes` is everything else on the line, in
    values that JSON can hold. `label_attribute` names the attribute that holds the label,
    `found_label` is a class or folder that is not known as a label.
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
    """A line that names no image to look at, and why.

    `text` is the line's beginning, made printable. `code` is stable; docs/manifests.md lists all.
    """

    line_number: int
    text: str
    code: str
    message: str


class LineError(Exception):
    """Raised inside this package while a line is read; becomes a BadLine."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def around(line: bytes, at: int) -> str:
    """The few characters of a line around byte `at`, for the end of a sentence; '' for none."""
    start = max(0, at - _SHOWN_AROUND)
    shown = printable(line[start : at + _SHOWN_AROUND]).strip()
    if not shown:
        return ""
    more = ("…" if start else "", "…" if at + _SHOWN_AROUND < len(line) else "")
    return f": {more[0]}{shown}{more[1]}"


def not_utf8(line: bytes, error: UnicodeDecodeError) -> LineError:
    """For the line whose decoding raised `error`."""
    where = around(line, error.start)
    return LineError(
        "not_utf8",
        f"Byte {error.start + 1} of the line is not UTF-8{where}; save the file as UTF-8.",
    )


def printable(line: bytes | str) -> str:
    """The beginning of a line with everything unprintable escaped; safe in any database."""
    text = line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line
    text = text[: SHOWN_CHARS + 1]
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text.rstrip("\r\n")
    )
    return shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"
