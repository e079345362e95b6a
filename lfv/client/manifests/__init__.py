"""Manifests: which images to look at, read as a stream from any of the usual forms."""

from lfv.client.manifests.reading import manifest_digest, manifest_kind, read_manifest
from lfv.formats.manifest.lines import MAX_LINE_BYTES
from lfv.formats.manifest.records import BadLine, ManifestItem, ManifestKind

__all__ = [
    "MAX_LINE_BYTES",
    "BadLine",
    "ManifestItem",
    "ManifestKind",
    "manifest_digest",
    "manifest_kind",
    "read_manifest",
]
