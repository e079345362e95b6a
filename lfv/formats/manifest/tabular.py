"""CSV with a header, and plain lists of references.

A line is a record: a quoted field may hold commas and doubled quotes but no line break, so that
one missing quote costs one line and not the rest of the file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from lfv.formats.errors import ManifestHeaderInvalid
from lfv.formats.manifest.groundtruth import label_of, resolved
from lfv.formats.manifest.lines import RawLine
from lfv.formats.manifest.records import LineError, ManifestItem, not_utf8, printable
from lfv.formats.refs import Ref

# Names are compared in lower case and without separators: "Source Ref", "source_ref" ...
SOURCE_COLUMNS = (
    "sourceref",
    "imageref",
    "imagepath",
    "imagefile",
    "imageuri",
    "imageurl",
    "image",
    "source",
    "filepath",
    "filename",
    "file",
    "path",
    "s3uri",
    "uri",
    "url",
)
LABEL_COLUMNS = ("anomalylabel", "label", "classname", "class", "expected")
_SEPARATORS = re.compile(r"[\s_\-.]+")
_DELIMITERS = (",", ";", "\t")
_MAX_COLUMNS = 1000


class CsvHeader:
    """What the columns of a CSV mean. Raises ManifestHeaderInvalid."""

    def __init__(self, line: RawLine) -> None:
        text = _text(line.data)
        self.delimiter = max(_DELIMITERS, key=text.count)
        try:
            self.names = [name.strip() for name in split(text, self.delimiter)]
        except LineError as error:
            raise ManifestHeaderInvalid(f"The header of the CSV is unusable: {error}") from None
        if len(self.names) > _MAX_COLUMNS:
            raise ManifestHeaderInvalid(f"The CSV has more than {_MAX_COLUMNS} columns.")
        plain = [_SEPARATORS.sub("", name).casefold() for name in self.names]
        twice = {name for name in self.names if name and self.names.count(name) > 1}
        if twice:
            raise ManifestHeaderInvalid(
                f"The CSV names a column twice: {', '.join(sorted(twice))}."
            )
        self.source = _first_of(SOURCE_COLUMNS, plain)
        self.label = _first_of(LABEL_COLUMNS, plain)
        if self.source is None:
            raise ManifestHeaderInvalid(
                "The first line of the CSV names no column for the images; name one source-ref "
                f"(the line begins: {printable(text)[:80]})."
            )

    def item(self, line: RawLine, base: Ref) -> ManifestItem:
        """Raises LineError."""
        fields = split(_text(line.data), self.delimiter)
        if len(fields) > len(self.names) and not any(fields[len(self.names) :]):
            del fields[len(self.names) :]  # spreadsheets add empty columns
        if len(fields) != len(self.names):
            raise LineError(
                "csv_columns", f"The line has {len(fields)} fields, the header {len(self.names)}."
            )
        source, label_at = self.source, self.label
        assert source is not None  # noqa: S101 - checked by __init__
        written = fields[source].strip()
        label = None if label_at is None else label_of(fields[label_at])
        used = {source, label_at if label is not None else source}
        return ManifestItem(
            line_number=line.number,
            source_ref=resolved(written, base, self.names[source]),
            written_ref=written,
            is_anomalous=label,
            attributes={
                name: value
                for at, (name, value) in enumerate(zip(self.names, fields, strict=True))
                if at not in used and name
            },
        )


def text_item(line: RawLine, base: Ref) -> ManifestItem:
    """An item from a line that is a reference and nothing else. Raises LineError."""
    written = _text(line.data).strip()
    return ManifestItem(
        line_number=line.number,
        source_ref=resolved(written, base, "reference"),
        written_ref=written,
    )


def split(text: str, delimiter: str) -> list[str]:
    """The fields of one record. Raises LineError."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "field larger" in str(error):
            raise LineError("csv_field_too_long", "A field of the line is too long.") from None
        raise LineError("csv_quotes", "The quotes of the line do not match.") from None


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(data, error) from None
    if "\x00" in text:
        raise LineError("nul_character", "The line holds a NUL byte.")
    return text


def _first_of(wanted: Sequence[str], names: Sequence[str]) -> int | None:
    for name in wanted:
        if name in names:
            return names.index(name)
    return None
