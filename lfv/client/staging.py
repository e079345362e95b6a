"""Bringing training data to where the service can read it: one bucket, checked and by content.

Every image and mask is looked at before anything is sent, because a training that fails after an
hour over one bad file is a lost hour. Keys are digests of contents, so that staging the same data
again writes nothing, and the manifest that is written depends on nothing but the data.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lfv.client.errors import TrainingDataInvalid
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.stores import ObjectStore
from lfv.formats.answers import is_background
from lfv.formats.errors import ImageError, LfvError, SourceError
from lfv.formats.images import DEFAULT_LIMITS, ImageInfo, check_image
from lfv.formats.manifest.groundtruth import TRAINING
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.formats.manifest.writing import labelled_row
from lfv.formats.masks import MASK_LIMITS, check_mask
from lfv.formats.refs import FileRef, S3Ref, parse_ref

_CHUNK = 64
_SHOWN = 5
_ENDINGS = {"PNG": ".png", "JPEG": ".jpg"}


@dataclass(frozen=True)
class Staging:
    """Where staged data goes: a bucket that the service can read, and a prefix in it."""

    bucket: str
    prefix: str = "training/"

    def key(self, *parts: str) -> str:
        return posixpath.join(self.prefix, *parts)


@dataclass(frozen=True)
class StagedDataset:
    """A manifest in the bucket. `width` and `height` are pixels, the same for all images."""

    manifest: S3Ref
    images: int
    normal: int
    anomalous: int
    masks: int
    anomaly_types: tuple[str, ...]
    width: int
    height: int


@dataclass(frozen=True)
class _Staged:
    item: ManifestItem
    info: ImageInfo
    line: dict[str, Any]


def stage_dataset(
    source: str,
    reader: SourceReader,
    staging: Staging,
    *,
    progress: Callable[[str], None] = lambda _: None,
    workers: int = 4,
) -> StagedDataset:
    """Check every row of manifest `source`, copy what it names, and write a manifest of the copies.

    Raises TrainingDataInvalid with every row that cannot be trained on (bad line, no label,
    unreadable image or mask, other dimensions than most); ManifestError and SourceError when the
    manifest itself or the bucket fails.
    """
    store = reader.bucket(staging.bucket)
    staged: list[_Staged] = []
    problems: list[BadLine] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="staging") as pool:
        records = read_manifest(source, reader, profile=TRAINING)
        while chunk := list(islice(records, _CHUNK)):
            for outcome in pool.map(lambda record: _stage(record, reader, store, staging), chunk):
                if isinstance(outcome, BadLine):
                    problems.append(outcome)
                else:
                    staged.append(outcome)
            progress(f"{len(staged):,} images checked and staged")
    problems += _odd_dimensions(staged)
    if problems:
        raise _invalid(source, problems)
    if not staged:
        raise TrainingDataInvalid(f"{source} names no image.")
    text = "".join(
        json.dumps(each.line, ensure_ascii=False, separators=(",", ":")) + "\n" for each in staged
    ).encode()
    key = staging.key("manifests", hashlib.sha256(text).hexdigest() + ".manifest")
    store.put(key, text)
    return _summary(staged, S3Ref(staging.bucket, key))


def _stage(
    record: ManifestItem | BadLine, reader: SourceReader, store: ObjectStore, staging: Staging
) -> _Staged | BadLine:
    """Raises SourceError when the bucket fails; what is wrong with the row becomes a BadLine."""
    if isinstance(record, BadLine):
        return record
    what = record.written_ref
    if record.is_anomalous is None:
        return _problem(record, "label_missing", f"{what} is labelled neither normal nor anomaly.")
    mask = None
    try:
        data = reader.read_bytes(record.source_ref)
        info = check_image(data, DEFAULT_LIMITS)
        if record.mask_ref is not None and record.is_anomalous:  # a normal image's is a dummy
            what = record.mask_ref
            mask = _read_mask(record.mask_ref, reader)
    except ImageError as error:
        return _problem(record, error.code, f"{what}: {error}")
    except SourceError as error:
        if error.retryable:
            raise
        return _problem(record, error.code, str(error))
    image = _put(record.source_ref, data, info, store, staging, "images")
    mask_copy = None
    if record.mask_ref is not None and mask is not None:
        mask_copy = str(_put(record.mask_ref, *mask, store, staging, "masks"))
    original = record.written_ref if str(image) != record.source_ref else None
    line = labelled_row(str(image), record.is_anomalous, mask_copy, record.mask_colors, original)
    return _Staged(record, info, line)


def _read_mask(ref: str, reader: SourceReader) -> tuple[bytes, ImageInfo]:
    data = reader.read_bytes(ref)
    check_mask(data)
    return data, check_image(data, MASK_LIMITS)


def _put(
    ref: str, data: bytes, info: ImageInfo, store: ObjectStore, staging: Staging, folder: str
) -> S3Ref:
    """Where the content is in the bucket; what is there already, is left there."""
    parsed = parse_ref(ref)
    if isinstance(parsed, S3Ref) and parsed.bucket == staging.bucket:
        return parsed
    key = staging.key(folder, info.sha256[:2], info.sha256 + _ENDINGS[info.format])
    if store.size_of(key) != info.size_bytes:
        store.put(key, Path(parsed.path) if isinstance(parsed, FileRef) else data)
    return S3Ref(staging.bucket, key)


def _odd_dimensions(staged: Sequence[_Staged]) -> Iterator[BadLine]:
    """The images that differ from most: all images of a model have the same dimensions."""
    sizes = Counter((each.info.width, each.info.height) for each in staged)
    if len(sizes) < 2:
        return
    (width, height), _ = sizes.most_common(1)[0]
    for each in staged:
        found = each.info
        if (found.width, found.height) != (width, height):
            yield _problem(
                each.item,
                "image_dimensions_mismatch",
                f"{each.item.written_ref} is {found.width}x{found.height} pixels, "
                f"most images are {width}x{height}.",
            )


def _problem(item: ManifestItem, code: str, message: str) -> BadLine:
    return BadLine(item.line_number, item.written_ref, code, message)


def _invalid(source: str, problems: list[BadLine]) -> LfvError:
    problems = sorted(problems, key=lambda problem: problem.line_number)
    lines = {problem.line_number for problem in problems}
    shown = [f"line {problem.line_number}: {problem.message}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        shown.append(f"and {len(problems) - _SHOWN:,} more")
    return TrainingDataInvalid(
        f"{len(lines):,} {'line' if len(lines) == 1 else 'lines'} of {source} cannot be trained "
        f"on: {' '.join(shown)}",
        problems,
    )


def _summary(staged: Sequence[_Staged], manifest: S3Ref) -> StagedDataset:
    anomalous = sum(bool(each.item.is_anomalous) for each in staged)
    types = {
        name
        for each in staged
        for name in each.item.mask_colors.values()
        if each.item.is_anomalous and not is_background(name)
    }
    return StagedDataset(
        manifest=manifest,
        images=len(staged),
        normal=len(staged) - anomalous,
        anomalous=anomalous,
        masks=sum("anomaly-mask-ref" in each.line for each in staged),
        anomaly_types=tuple(sorted(types)),
        width=staged[0].info.width,
        height=staged[0].info.height,
    )
