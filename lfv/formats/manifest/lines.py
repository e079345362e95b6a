"""Reads a stream as numbered lines of limited length."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass

from lfv.formats.errors import ManifestError
from lfv.formats.manifest.records import LineError

#: Longest line. A Ground Truth line has about 700 bytes; this has room for many attributes.
MAX_LINE_BYTES = 256 * 1024

_WRONG_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its line end. If `too_long`, `data` is only its start."""

    number: int
    data: bytes
    too_long: bool


def whole(line: RawLine) -> bytes:
    """Return the line's bytes. Raises LineError if the line was cut off."""
    if line.too_long:
        raise LineError("line_too_long", f"The line is longer than {MAX_LINE_BYTES:,} bytes.")
    return line.data


def iter_lines(stream: io.BufferedReader) -> Iterator[RawLine]:
    """Yield every line that is not blank. Lines end with LF or CRLF; a UTF-8 BOM is skipped.

    Memory use does not depend on the stream. Raises ManifestError for text in UTF-16 or UTF-32.
    """
    start = stream.peek(4)[:4]
    for bom, name in _WRONG_ENCODINGS:
        if start.startswith(bom):
            raise ManifestError(f"The manifest is encoded as {name}; save it as UTF-8.")
    if start.startswith(codecs.BOM_UTF8):
        stream.read(3)
    number = 0
    while data := stream.readline(MAX_LINE_BYTES + 2):
        number += 1
        line = data.rstrip(b"\r\n")
        too_long = len(line) > MAX_LINE_BYTES
        while not data.endswith(b"\n"):
            data = stream.readline(MAX_LINE_BYTES + 2)
            if not data:
                break
            too_long = too_long or bool(data.rstrip(b"\r\n"))
        if too_long:
            yield RawLine(number, line[:MAX_LINE_BYTES], too_long=True)
        elif line and not line.isspace():
            yield RawLine(number, line, too_long=False)
