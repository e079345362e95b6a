"""Reads manifests of any kind as a stream."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lfv.client.manifests.listing import iter_folder, iter_prefix
from lfv.client.masks import masks_show_anomaly
from lfv.client.sources import SourceReader
from lfv.formats.errors import (
    LfvError,
    ManifestError,
    ManifestKindUnknown,
    ManifestLineInvalid,
    SourceNotAFile,
    SourceNotFound,
)
from lfv.formats.folder_layout import Skipped
from lfv.formats.image_headers import CONVERTIBLE, sniff
from lfv.formats.manifest import groundtruth, strict_json
from lfv.formats.manifest.groundtruth import INSPECTION, LABEL_PROBLEM, Profile
from lfv.formats.manifest.lines import RawLine, iter_lines, whole
from lfv.formats.manifest.records import (
    BadLine,
    LineError,
    ManifestItem,
    ManifestKind,
    printable,
)
from lfv.formats.manifest.tabular import CsvColumns, csv_records, given_delimiter, text_item
from lfv.formats.refs import FileRef, Ref, S3Ref, parent_of, parse_ref

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SUFFIXES = {
    ".manifest": ManifestKind.JSON_LINES,
    ".jsonl": ManifestKind.JSON_LINES,
    ".ndjson": ManifestKind.JSON_LINES,
    ".csv": ManifestKind.CSV,
    ".tsv": ManifestKind.CSV,
    ".txt": ManifestKind.TEXT,
    ".lst": ManifestKind.TEXT,
    ".list": ManifestKind.TEXT,
}
_PACKED = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "ZIP"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_TAKEN = frozenset({"PNG", "JPEG"})
#: Formats that are converted on request, or else reported as images with an error, as in a folder.
_OTHERS = frozenset({"GIF", "AVIF", "HEIC or another ISO media", *CONVERTIBLE})
_CHUNK = 1024 * 1024

Record = ManifestItem | BadLine


def read_manifest(
    source: str,
    reader: SourceReader,
    *,
    strict: bool = False,
    kind: ManifestKind | None = None,
    profile: Profile = INSPECTION,
    skipped: Skipped | None = None,
    digest: hashlib._Hash | None = None,
) -> Iterator[Record]:
    """Yield the items and bad lines of `source` in order, as a stream.

    `source` is a path, `file://` or `s3://` reference of a JSON Lines, CSV or text file, a folder,
    an `s3://bucket/prefix/`, or a single image. `kind` overrides `manifest_kind`. `profile` says
    how strictly labels and masks are read. With `strict`, the first bad line raises
    ManifestLineInvalid. `digest` is updated with what was read: after the last record it is the
    `manifest_digest` of exactly these records, whatever happened to the source meanwhile.

    Raises ManifestError for an unusable manifest and SourceError for an unreadable one, both from
    the first `next`, or from a later one if reading fails midway.
    """
    ref = parse_ref(source)
    found = kind or manifest_kind(source, reader)
    skipped = skipped or Skipped()
    records: Iterator[Record]
    if found is ManifestKind.FOLDER:
        records = iter_folder(_folder(ref), reader, profile, skipped)
    elif found is ManifestKind.PREFIX:
        if not isinstance(ref, S3Ref):
            raise ManifestError(f"{source} is not an s3://bucket/prefix/.")
        records = iter_prefix(ref, reader, profile, skipped)
    elif found is ManifestKind.IMAGE:
        full = str(ref) if isinstance(ref, S3Ref) else str(Path(ref.path).absolute())
        records = iter([ManifestItem(1, full, source)])
        if digest is not None:
            _hash_file(ref, reader, digest)
    else:
        records = _iter_file(ref, found, reader, profile, digest)
    is_listing = found in (ManifestKind.FOLDER, ManifestKind.PREFIX)
    for record in records:
        if digest is not None and is_listing:
            written = record.written_ref if isinstance(record, ManifestItem) else record.text
            digest.update(written.encode() + b"\n")
        if strict and isinstance(record, BadLine):
            raise ManifestLineInvalid(record)
        yield record


def manifest_kind(source: str, reader: SourceReader) -> ManifestKind:
    """Detect the kind of `source` by the rules in docs/manifests.md, in their order.

    Raises ManifestKindUnknown, and SourceError if `source` cannot be read.
    """
    ref = parse_ref(source)
    if isinstance(ref, S3Ref) and (not ref.key or ref.key.endswith("/")):
        return ManifestKind.PREFIX
    if reader.is_folder(ref):
        return ManifestKind.FOLDER
    start = _read_start(ref, reader)
    name = ref.key if isinstance(ref, S3Ref) else ref.path
    suffix = posixpath.splitext(name)[1].lower()
    format_ = sniff(start)
    if format_ in _TAKEN or (format_ in _OTHERS and suffix not in _SUFFIXES):
        return ManifestKind.IMAGE
    for signature, name in _PACKED:
        if start.startswith(signature):
            raise ManifestKindUnknown(f"{source} is packed with {name}; unpack it first.")
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if _SUFFIXES.get(suffix) is ManifestKind.CSV:
        return ManifestKind.CSV
    if first == b"{":
        return ManifestKind.JSON_LINES
    if first == b"[" and suffix not in _SUFFIXES:
        raise ManifestKindUnknown(
            f"{source} is a JSON array; a manifest has one JSON object per line."
        )
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise ManifestKindUnknown(
        f"{source} is not a manifest of a known kind; name it .manifest or .jsonl (JSON Lines), "
        ".csv (with a header) or .txt (one reference per line)."
    )


def _read_start(ref: Ref, reader: SourceReader) -> bytes:
    try:
        with reader.open(ref) as opened:
            return opened.stream.peek(_CHUNK)[:4096]
    except (SourceNotFound, SourceNotAFile) as error:
        if isinstance(ref, S3Ref) and next(reader.list(S3Ref(ref.bucket, ref.key + "/")), None):
            raise ManifestKindUnknown(
                f"{ref} is a prefix, not an object; write {ref}/ to read everything below it."
            ) from error
        raise


def manifest_digest(source: str, reader: SourceReader, *, kind: ManifestKind | None = None) -> str:
    """Return the SHA-256, in hex, of a file's bytes or of the listing of a folder or prefix.

    Raises like `read_manifest`.
    """
    digest = hashlib.sha256()
    found = kind or manifest_kind(source, reader)
    if found in (ManifestKind.FOLDER, ManifestKind.PREFIX):
        names_only = replace(INSPECTION, looks_at_masks=False)
        for _ in read_manifest(source, reader, kind=found, profile=names_only, digest=digest):
            pass
    else:
        _hash_file(parse_ref(source), reader, digest)
    return digest.hexdigest()


def _hash_file(ref: Ref, reader: SourceReader, digest: hashlib._Hash) -> None:
    with reader.open(ref) as opened:
        while chunk := opened.stream.read(_CHUNK):
            digest.update(chunk)


class _Hashed(io.RawIOBase):
    """A stream that updates a digest with what is read from it."""

    def __init__(self, stream: io.BufferedReader, digest: hashlib._Hash) -> None:
        self._stream = stream
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        size = self._stream.readinto(buffer)
        self._digest.update(memoryview(buffer)[:size])
        return size


def _iter_file(
    ref: Ref,
    kind: ManifestKind,
    reader: SourceReader,
    profile: Profile,
    digest: hashlib._Hash | None,
) -> Iterator[Record]:
    base = parent_of(ref)
    with reader.open(ref) as opened:
        stream = opened.stream
        if digest is not None:
            stream = io.BufferedReader(_Hashed(stream, digest), _CHUNK)
        lines: Iterator[RawLine] = iter_lines(stream)
        convert: Callable[[RawLine], ManifestItem]
        if kind is ManifestKind.CSV:
            lines = csv_records(lines)
            first = next(lines, None)
            if first is None:
                return
            delimiter = given_delimiter(first)
            if delimiter is not None:
                first = next(lines, None)
                if first is None:
                    return
            columns = CsvColumns(first, profile.names, delimiter)
            if not columns.has_header:
                lines = chain([first], lines)

            def convert(line: RawLine) -> ManifestItem:
                return columns.item(line, base)
        elif kind is ManifestKind.TEXT:

            def convert(line: RawLine) -> ManifestItem:
                return text_item(line, base, profile.names)
        else:

            def convert(line: RawLine) -> ManifestItem:
                row = strict_json.parse_object(line.data)
                return groundtruth.item_from_row(row, line.number, base, profile)

        for line in lines:
            try:
                whole(line)
                yield _add_label(convert(line), reader, profile)
            except LineError as error:
                yield BadLine(line.number, printable(line.data[:4096]), error.code, str(error))


def _add_label(item: ManifestItem, reader: SourceReader, profile: Profile) -> ManifestItem:
    """Label an item of a table by its mask if it has no other label."""
    unlabelled = item.is_anomalous is None and item.found_label is None
    if not (unlabelled and item.plain_masks and profile.looks_at_masks):
        return item
    try:
        if masks_show_anomaly(item.plain_masks, reader):
            return replace(item, is_anomalous=True)
    except LfvError as error:
        problem = f"Its mask {item.mask_ref} cannot be read: {error}"
        return replace(item, attributes={**item.attributes, LABEL_PROBLEM: problem})
    return replace(item, is_anomalous=False, mask_ref=None, mask_colors={}, plain_masks=())


def _folder(ref: Ref) -> Path:
    if not isinstance(ref, FileRef):
        raise ManifestError(f"{ref} is not a folder; end it with / to read it as a prefix.")
    return Path(os.path.abspath(ref.path))  # noqa: PTH100 - resolve() would follow symlinks
