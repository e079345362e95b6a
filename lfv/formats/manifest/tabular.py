"""Reads CSV, with or without a header, and plain lists of references."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from lfv.formats.errors import ManifestHeaderInvalid
from lfv.formats.labels import USUAL, LabelNames, truth_of
from lfv.formats.manifest.columns import IMAGE_CELL, IMAGE_NAME, Columns, Label
from lfv.formats.manifest.groundtruth import flat_item, resolved
from lfv.formats.manifest.lines import MAX_LINE_BYTES, RawLine
from lfv.formats.manifest.records import LineError, ManifestItem, around, not_utf8, printable
from lfv.formats.refs import Ref

_DELIMITERS = (",", ";", "\t", "|")
_MAX_COLUMNS = 1000
_MAX_RECORD_LINES = 50
_IMAGE_AND_LABEL = re.compile(rf"({IMAGE_NAME})(?:\s*[,;|]\s*|\s+)([\w.-]+)\Z", re.IGNORECASE)


class CsvColumns:
    """The meaning of a CSV's columns, found in its first record.

    That record is the header. In a file without one (`has_header` is False) it is an image like all
    others, and one of its cells names an image file.

    Raises:
        ManifestHeaderInvalid: No column holds the images, or the first record is unusable.
    """

    def __init__(
        self, line: RawLine, words: LabelNames = USUAL, delimiter: str | None = None
    ) -> None:
        if line.too_long:
            raise ManifestHeaderInvalid("The header of the CSV is too long.")
        self._words = words
        try:
            text = _text(line.data)
            if "\r" in text.rstrip("\r"):
                raise ManifestHeaderInvalid(
                    "The CSV has carriage returns without line feeds; save it with line feeds."
                )
            self.delimiter, cells = _first_cells(text, delimiter)
        except LineError as error:
            raise ManifestHeaderInvalid(f"The CSV has an invalid header: {error}") from None
        if len(cells) > _MAX_COLUMNS:
            raise ManifestHeaderInvalid(f"The CSV has more than {_MAX_COLUMNS} columns.")
        self.columns = Columns.named(cells)
        self.has_header = self.columns.source is not None
        if not self.has_header:
            self.columns = self._without_header(cells, text)
            return
        twice = {name for name in cells if name and cells.count(name) > 1}
        if twice:
            raise ManifestHeaderInvalid(
                f"The CSV has duplicate columns: {', '.join(sorted(twice))}."
            )

    def _without_header(self, cells: Sequence[str], text: str) -> Columns:
        images = [at for at, cell in enumerate(cells) if IMAGE_CELL.match(cell)]
        if not images:
            raise ManifestHeaderInvalid(
                "The first line of the CSV names no column of images; call one source-ref "
                f"(the line starts with: {printable(text)[:80]})."
            )
        source = images[0]
        others = [at for at in range(len(cells)) if at != source]
        labels = [at for at in others if self._words.of_folder(cells[at]) is not None]
        # A number before the image may count the rows.
        flags = [at for at in others if at > source and truth_of(cells[at]) is not None]
        label = next(iter((*labels, *flags, *(others if len(others) == 1 else ()))), None)
        names = [f"column-{number}" for number in range(1, len(cells) + 1)]
        return Columns(names, source, label, None, "anomaly")

    def item(self, line: RawLine, base: Ref) -> ManifestItem:
        """Return the item in a record. Raises LineError."""
        fields = split(_text(line.data), self.delimiter)
        names = self.columns.names
        if len(fields) > len(names) and not any(fields[len(names) :]):
            del fields[len(names) :]  # spreadsheets add empty columns
        if len(fields) != len(names):
            raise LineError(
                "csv_columns",
                f"The line has {len(fields)} fields, but the first line has {len(names)}"
                f"{around(line.data, len(line.data))}.",
            )
        return flat_item(self.columns, fields, line.number, base, self._words)


def _first_cells(text: str, delimiter: str | None) -> tuple[str, list[str]]:
    """Return the separator of a CSV and the cells of its first line.

    The separator is the most frequent one that yields a column for the images. Raises LineError.
    """
    frequent = sorted(_DELIMITERS, key=text.count, reverse=True)
    for found in (delimiter,) if delimiter else frequent:
        with suppress(LineError):
            cells = [cell.strip() for cell in split(text, found)]
            if Columns.named(cells).source is not None or any(map(IMAGE_CELL.match, cells)):
                return found, cells
    found = delimiter or frequent[0]
    return found, [cell.strip() for cell in split(text, found)]


def given_delimiter(line: RawLine) -> str | None:
    """Return the separator named by a first line such as `sep=;`; None for any other line."""
    found = re.fullmatch(rb'"?sep=([,;|\t])"?', line.data.strip(b" \r"), re.IGNORECASE)
    return found[1].decode() if found else None


def csv_records(lines: Iterator[RawLine]) -> Iterator[RawLine]:
    """Yield records: single lines, or several lines joined if a quoted cell spans them.

    A quote that is not closed within 50 lines affects only its own line.
    """
    waiting: deque[RawLine] = deque()
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        taken = (
            0
            if line.too_long or line.data.count(b'"') % 2 == 0
            else _lines_of(line, waiting, lines)
        )
        parts = [line.data, *(waiting.popleft().data for _ in range(taken))]
        record = b"\n".join(parts)
        if record.strip(b' ,;|\t\r"'):  # spreadsheets keep the separators of deleted rows
            yield RawLine(line.number, record, line.too_long)


def _lines_of(line: RawLine, waiting: deque[RawLine], lines: Iterator[RawLine]) -> int:
    """Return how many of the following lines continue the record of `line`.

    These lines are left in `waiting`.
    """
    joined = line.data
    for count in range(1, _MAX_RECORD_LINES):
        if len(waiting) < count:
            following = next(lines, None)
            if following is None:
                return 0
            waiting.append(following)
        part = waiting[count - 1]
        joined += b"\n" + part.data
        if part.too_long or len(joined) > MAX_LINE_BYTES:
            return 0
        if joined.count(b'"') % 2 == 0:
            return count if _is_record(joined) else 0
    return 0


def _is_record(data: bytes) -> bool:
    """Whether several joined lines form exactly one record."""
    for delimiter in _DELIMITERS:
        try:
            text = io.StringIO(data.decode(), "")
            records = list(csv.reader(text, delimiter=delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError):
            continue
        if len(records) == 1 and len(records[0]) > 1:
            return True
    return False


def text_item(line: RawLine, base: Ref, words: LabelNames = USUAL) -> ManifestItem:
    """Return the item in a line that holds a reference, or an image's name and its label.

    Raises LineError.
    """
    written = _text(line.data).strip()
    named = _IMAGE_AND_LABEL.match(written)
    label = Label()
    if named is not None:
        written, cell = named.groups()
        known = words.of_cell(cell)
        label = Label(known, None, cell if known is None else None)
    return ManifestItem(
        line_number=line.number,
        source_ref=resolved(written, base, "reference"),
        written_ref=written,
        is_anomalous=label.is_anomalous,
        found_label=label.unknown,
    )


def split(text: str, delimiter: str) -> list[str]:
    """Split a record into its fields. Raises LineError."""
    try:
        return next(csv.reader(io.StringIO(text, ""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "field larger" in str(error):
            raise LineError("csv_field_too_long", "A field of the line is too long.") from None
        raise LineError("csv_quotes", "The line has unbalanced quotes.") from None


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(data, error) from None
    if "\x00" in text:
        raise LineError("nul_character", "The line contains a NUL byte.")
    return text
