"""Detects the kind of an import's source by its content and name."""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path

from lfv.client.manifests import manifest_kind
from lfv.client.sources import SourceReader
from lfv.formats.errors import ManifestKindUnknown
from lfv.formats.manifest.groundtruth import DETECTED, METADATA
from lfv.formats.manifest.records import ManifestKind
from lfv.formats.refs import FileRef, Ref, S3Ref, parse_ref

ANNOTATIONS_FOLDER = "Annotations"
LABELS_FOLDER, IMAGES_FOLDER = "labels", "images"
_PEEK = 1 << 16
_LINES = 20
#: Other exports of anomalib, which are refused later by an error that says what to export instead.
_CHECKPOINTS = (".pt", ".pth", ".ckpt")
_OPENVINO = b"<net"
_GZIP = b"\x1f\x8b"


class ImportKind(StrEnum):
    """The kinds of sources that can be imported."""

    MANIFEST = "manifest"
    EVALUATION = "evaluation manifest"
    FOLDER = "folder of images"
    COCO = "COCO annotations"
    VOC = "VOC annotations"
    YOLO = "YOLO labels"
    SAGEMAKER_MODEL = "SageMaker model"
    ONNX_MODEL = "ONNX model"

    @property
    def is_model(self) -> bool:
        """Whether the source is a model, which needs images for calibration."""
        return self in {ImportKind.SAGEMAKER_MODEL, ImportKind.ONNX_MODEL}


def import_kind(source: str, reader: SourceReader) -> ImportKind:
    """Detect the kind of `source`. Raises ManifestKindUnknown or SourceError."""
    ref = parse_ref(source)
    if reader.is_folder(ref) and isinstance(ref, FileRef):
        return _folder(Path(ref.path))
    name = ref.key if isinstance(ref, S3Ref) else ref.path
    if name.endswith((".onnx", *_CHECKPOINTS)):
        return ImportKind.ONNX_MODEL
    if isinstance(ref, S3Ref) and (not ref.key or ref.key.endswith("/")):
        return ImportKind.FOLDER
    with reader.open(ref) as opened:
        start = opened.stream.peek(_PEEK)[:_PEEK]
    if start.startswith(_GZIP):
        return ImportKind.SAGEMAKER_MODEL
    if _begins_like_coco(start):
        return ImportKind.COCO
    if _OPENVINO in start[:512]:
        return ImportKind.ONNX_MODEL
    if start.lstrip().startswith(b"<"):
        raise ManifestKindUnknown(
            f"{source} is a single XML file; give the folder that contains {ANNOTATIONS_FOLDER}/."
        )
    if manifest_kind(source, reader) is ManifestKind.JSON_LINES and _has_answers(ref, reader):
        return ImportKind.EVALUATION
    return ImportKind.MANIFEST


def _folder(folder: Path) -> ImportKind:
    if any((folder / ANNOTATIONS_FOLDER).glob("*.xml")):
        return ImportKind.VOC
    if yolo_labels(folder):
        return ImportKind.YOLO
    models = chain(*(folder.rglob(name) for name in ("*.onnx", "model.xml", "model.pt")))
    if next(models, None) is not None:
        return ImportKind.ONNX_MODEL
    return ImportKind.FOLDER


def yolo_labels(folder: Path) -> list[Path]:
    """List YOLO's label files: text files in a folder `labels` next to a folder `images`."""
    return sorted(
        file
        for labels in folder.glob(f"**/{LABELS_FOLDER}")
        if (labels.parent / IMAGES_FOLDER).is_dir()
        for file in labels.glob("**/*.txt")
    )


def _begins_like_coco(start: bytes) -> bool:
    """Whether a file starts like a JSON object with COCO's members, on one or many lines."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    first, _, rest = text.partition(b"\n")
    if not text.startswith(b"{"):
        return False
    try:
        row = json.loads(first)
    except ValueError:
        return any(b'"%s"' % name in text for name in (b"images", b"annotations", b"categories"))
    return not rest.strip() and "images" in row and "annotations" in row


def _has_answers(ref: Ref, reader: SourceReader) -> bool:
    """Whether one of the first rows contains a model's answer."""
    with reader.open(ref) as opened:
        for line in islice(opened.stream, _LINES):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and any(name.endswith(DETECTED + METADATA) for name in row):
                return True
    return False
