"""Manifests: which images to look at, read as a stream from any of the usual forms."""

from lfv_client.manifests.lines import MAX_LINE_BYTES
from lfv_client.manifests.model import BadLine, ManifestItem, ManifestKind
from lfv_client.manifests.reading import manifest_digest, manifest_kind, read_manifest

__all__ = [
    "MAX_LINE_BYTES",
    "BadLine",
    "ManifestItem",
    "ManifestKind",
    "manifest_digest",
    "manifest_kind",
    "read_manifest",
]
