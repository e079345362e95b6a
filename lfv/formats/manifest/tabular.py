"""CSV, with a header or without, and plain lists of references."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence

from lfv.formats.errors import ManifestHeaderInvalid
from lfv.formats.labels import USUAL, LabelNames, plain
from lfv.formats.manifest.groundtruth import resolved
from lfv.formats.manifest.lines import MAX_LINE_BYTES, RawLine
from lfv.formats.manifest.records import LineError, ManifestItem, around, not_utf8, printable
from lfv.formats.masks import plain_colors
from lfv.formats.refs import Ref

# Names are compared in lower case and without separators: "Source Ref", "source_ref" ...
SOURCE_COLUMNS = (
    "sourceref",
    "imageref",
    "imagepath",
    "imagefile",
    "imagefilename",
    "imagename",
    "imageuri",
    "imageurl",
    "imagekey",
    "image",
    "imgpath",
    "imgfile",
    "imgname",
    "img",
    "source",
    "filepath",
    "filename",
    "file",
    "path",
    "s3uri",
    "s3url",
    "s3key",
    "uri",
    "url",
    "address",
    "location",
    "picture",
    "photo",
    "bild",
    "bildpfad",
    "bilddatei",
    "datei",
    "dateiname",
    "dateipfad",
    "imageid",
    "imgid",
)
LABEL_COLUMNS = (
    "anomalylabel",
    "label",
    "classname",
    "class",
    "expected",
    "anomalyclass",
    "isanomalous",
    "isanomaly",
    "anomaly",
    "target",
    "truth",
    "groundtruth",
    "category",
    "quality",
    "judgement",
    "verdict",
    "result",
    "status",
    "klasse",
    "bewertung",
    "ergebnis",
    "labels",
    "defect",
    "defecttype",
    "anomalytype",
)
MASK_COLUMNS = ("anomalymaskref", "maskref", "maskpath", "maskfile", "mask")
_DELIMITERS = (",", ";", "\t", "|")
_MAX_COLUMNS = 1000
_MAX_RECORD_LINES = 50
_IMAGE_CELL = re.compile(r"(s3|file)://\S|.*\.(png|jpe?g|bmp|tiff?|webp)\s*\Z", re.IGNORECASE)


class CsvColumns:
    """What the columns of a CSV mean, found in its first record.

    That record is the header, or, in a file without one (`has_header` is False), an image like all
    others: one of its cells names an image file.

    Raises:
        ManifestHeaderInvalid: There is no column for the images.
    """

    def __init__(
        self, line: RawLine, names: LabelNames = USUAL, delimiter: str | None = None
    ) -> None:
        text = _text(line.data)
        if "\r" in text.rstrip("\r"):
            raise ManifestHeaderInvalid(
                "The CSV's lines end with a carriage return alone; save it with line feeds."
            )
        self._labels = names
        self.delimiter = delimiter or max(_DELIMITERS, key=text.count)
        try:
            cells = [cell.strip() for cell in split(text, self.delimiter)]
        except LineError as error:
            raise ManifestHeaderInvalid(f"The header of the CSV is unusable: {error}") from None
        if len(cells) > _MAX_COLUMNS:
            raise ManifestHeaderInvalid(f"The CSV has more than {_MAX_COLUMNS} columns.")
        found = [plain(cell) for cell in cells]
        self.source = _first_of(SOURCE_COLUMNS, found)
        self.label = _first_of(LABEL_COLUMNS, found)
        self.mask = _first_of(MASK_COLUMNS, found)
        self.names = cells
        self.has_header = self.source is not None
        if not self.has_header:
            self._read_without_header(cells, text)
            return
        twice = {name for name in cells if name and cells.count(name) > 1}
        if twice:
            raise ManifestHeaderInvalid(
                f"The CSV names a column twice: {', '.join(sorted(twice))}."
            )

    def _read_without_header(self, cells: Sequence[str], text: str) -> None:
        images = [at for at, cell in enumerate(cells) if _IMAGE_CELL.match(cell)]
        if not images:
            raise ManifestHeaderInvalid(
                "The first line of the CSV names no column for the images; name one source-ref "
                f"(the line begins: {printable(text)[:80]})."
            )
        self.source, self.mask = images[0], None
        labels = [at for at, cell in enumerate(cells) if self._labels.of_cell(cell) is not None]
        others = [at for at in range(len(cells)) if at != self.source]
        self.label = labels[0] if labels else others[0] if len(others) == 1 else None
        self.names = [f"column-{number}" for number in range(1, len(cells) + 1)]

    def item(self, line: RawLine, base: Ref) -> ManifestItem:
        """Raises LineError."""
        fields = split(_text(line.data), self.delimiter)
        if len(fields) > len(self.names) and not any(fields[len(self.names) :]):
            del fields[len(self.names) :]  # spreadsheets add empty columns
        if len(fields) != len(self.names):
            raise LineError(
                "csv_columns",
                f"The line has {len(fields)} fields, the first line {len(self.names)}"
                f"{around(line.data, len(line.data))}.",
            )
        source = self.source or 0
        written = fields[source].strip()
        label = None if self.label is None else self._labels.of_cell(fields[self.label])
        used = {source, source if label is None or self.label is None else self.label}
        mask = fields[self.mask].strip() if self.mask is not None else ""
        if mask and self.mask is not None:
            used.add(self.mask)
        mask_ref = resolved(mask, base, "mask") if mask else None
        unknown = fields[self.label].strip() if self.label is not None and label is None else ""
        return ManifestItem(
            line_number=line.number,
            source_ref=resolved(written, base, self.names[source]),
            written_ref=written,
            is_anomalous=label,
            mask_ref=mask_ref,
            mask_colors=plain_colors(None) if mask else {},
            plain_masks=(mask_ref,) if mask_ref is not None else (),
            attributes={
                name: value
                for at, (name, value) in enumerate(zip(self.names, fields, strict=True))
                if at not in used and name
            },
            found_label=unknown or None,
        )


def given_delimiter(line: RawLine) -> str | None:
    """The separator that a spreadsheet's first line `sep=;` names; None for any other line."""
    found = re.fullmatch(rb'"?sep=([,;|\t])"?', line.data.strip(b" \r"), re.IGNORECASE)
    return found[1].decode() if found else None


def csv_records(lines: Iterator[RawLine]) -> Iterator[RawLine]:
    """Lines, or several as one where a quoted cell goes on over a line break.

    A quote that nothing closes within 50 lines costs its own line only.
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
    """How many of the lines that follow belong to one record with `line`; they are in `waiting`."""
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
    """Whether the quotes of several lines together are those of one record."""
    for delimiter in _DELIMITERS:
        try:
            text = io.StringIO(data.decode(), "")
            records = list(csv.reader(text, delimiter=delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError):
            continue
        if len(records) == 1 and len(records[0]) > 1:
            return True
    return False


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
        return next(csv.reader(io.StringIO(text, ""), delimiter=delimiter, strict=True))
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
