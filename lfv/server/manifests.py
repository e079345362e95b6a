"""Lines of manifests as datasets store them. `lfv.formats.manifest` parses them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from lfv.formats.answers import is_background
from lfv.formats.manifest.groundtruth import (
    INSPECTION,
    TRAINING,
    Profile,
    item_from_row,
    labelled_at,
)
from lfv.formats.manifest.lines import RawLine, iter_lines, whole
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.manifest.strict_json import parse_object
from lfv.formats.refs import Ref, S3Ref, parse_ref


class ManifestTooLargeError(Exception):
    """The message names the limit."""


@dataclass(frozen=True)
class Entry:
    """A line and what was parsed from it."""

    line: str
    item: ManifestItem
    #: Unix seconds.
    labelled_at: float | None

    @property
    def source_ref(self) -> str:
        return self.item.written_ref

    @property
    def label(self) -> str | None:
        """``normal``, ``anomaly``, or None for an image without a label."""
        return {None: None, True: "anomaly", False: "normal"}[self.item.is_anomalous]

    @property
    def anomaly_types(self) -> frozenset[str]:
        """The anomaly types that the mask's colours name."""
        return frozenset(name for name in self.item.mask_colors.values() if not is_background(name))


def parse_entry(line: RawLine, max_types: int) -> Entry:
    """Parse a line for a new or changed dataset. Raises LineError."""
    return _entry(whole(line), line.number, replace(TRAINING, max_types=max_types))


def stored_entry(line: str) -> Entry:
    """Parse a stored line, which this or an earlier release accepted. Raises LineError."""
    return _entry(line.encode(), 1, INSPECTION)


def _entry(raw: bytes, number: int, profile: Profile) -> Entry:
    row = parse_object(raw)
    item = item_from_row(row, number, None, profile)
    labelled = labelled_at(row, item.label_attribute)
    return Entry(raw.decode().strip(), item, labelled.timestamp() if labelled else None)


def location(ref: str) -> tuple[str, str]:
    """Return the bucket and the key of a checked reference."""
    parsed: Ref = parse_ref(ref)
    assert isinstance(parsed, S3Ref)  # noqa: S101 - parse_entry accepts no other
    return parsed.bucket, parsed.key


class Readable(Protocol):
    """A file, or the body of a response from S3."""

    def read(self, size: int, /) -> bytes: ...


def entry_lines(file: Readable, limit: int) -> Iterator[RawLine]:
    """Yield the lines that are not blank.

    Raises:
        ManifestTooLargeError: The file has more than ``limit`` bytes.
        ManifestError: The text is UTF-16 or UTF-32.
    """
    return iter_lines(io.BufferedReader(_Limited(file, limit)))


class _Limited(io.RawIOBase):
    def __init__(self, file: Readable, limit: int) -> None:
        self._file = file
        self._limit = self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise ManifestTooLargeError(f"the manifest is larger than {self._limit} bytes")
        buffer[: len(data)] = data
        return len(data)
