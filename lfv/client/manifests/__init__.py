"""Reads lists of images as a stream, from manifests, folders or prefixes."""

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
