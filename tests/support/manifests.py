"""Manifests that a test writes and reads."""

from __future__ import annotations

from pathlib import Path

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind

Records = list[ManifestItem | BadLine]


def read(path: Path, text: str | bytes, kind: ManifestKind | None = None) -> Records:
    """Every record of a manifest with this content."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_manifest(str(path), SourceReader(), kind=kind))


def good(records: Records) -> list[ManifestItem]:
    """The records, none of which may be a bad line."""
    assert all(isinstance(record, ManifestItem) for record in records), records
    return [record for record in records if isinstance(record, ManifestItem)]
