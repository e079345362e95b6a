"""Stages training data: checks it and copies it to a bucket that the service can read.

Every image and mask is checked before the manifest is written, so that no training fails after an
hour because of one bad file. Keys are digests of contents. Images already in the bucket are not
copied again, and the manifest depends only on the data.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from lfv.client.errors import TrainingDataInvalid
from lfv.client.manifests import read_manifest
from lfv.client.masks import read_mask
from lfv.client.sources import SourceReader
from lfv.client.stores import ObjectStore
from lfv.formats.answers import is_background
from lfv.formats.errors import ImageError, LfvError, SourceError
from lfv.formats.fit import LIMITS, Fit, common_size, fit_for, recorded_fit
from lfv.formats.fit_mode import FitMode
from lfv.formats.folder_layout import Skipped, split_of
from lfv.formats.images import (
    CONVERTED_FROM,
    DEFAULT_LIMITS,
    ENDINGS,
    ImageInfo,
    check_header,
    check_image,
)
from lfv.formats.labels import TEST, USUAL, VALIDATION, LabelNames
from lfv.formats.manifest.groundtruth import LABEL_PROBLEM, TRAINING
from lfv.formats.manifest.records import BadLine, ManifestItem
from lfv.formats.manifest.writing import MASK, labelled_row
from lfv.formats.masks import MASK_LIMITS
from lfv.formats.refs import FileRef, S3Ref, parse_ref
from lfv.formats.words import count_of

_CHUNK = 64
_WORKERS = 4
_SHOWN = 5
_FITS = {
    FitMode.SCALE: "`--fit scale` scales those that differ",
    FitMode.CROP: "`--fit crop` scales and crops those that differ",
    FitMode.STRETCH: "`--fit stretch` stretches those that differ",
}
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class LabelledData:
    """Labelled images to train on, as a user names them.

    Without `test`, the test images are those that `source` marks as tests. `normal` and `anomaly`
    are names of labels in addition to the usual ones. Without `needs_labels`, images without a
    label are left out and counted. With `fit`, images of other sizes are fitted to the usual one.
    """

    source: str
    test: str | None = None
    normal: tuple[str, ...] = ()
    anomaly: tuple[str, ...] = ()
    needs_labels: bool = True
    fit: FitMode | None = None

    def names(self) -> LabelNames:
        """Return the names of labels. Raises TrainingDataInvalid for one with both meanings."""
        try:
            return LabelNames.of(self.normal, self.anomaly)
        except ValueError as error:
            raise TrainingDataInvalid(f"The label names contradict each other: {error}.") from None


@dataclass(frozen=True)
class Staging:
    """The target of staged data: a bucket that the service can read, and a prefix in it."""

    bucket: str
    prefix: str = "training/"

    def key(self, *parts: str) -> str:
        return posixpath.join(self.prefix, *parts)


@dataclass(frozen=True)
class StagedDataset:
    """A manifest in the bucket. `width` and `height`, in pixels, are the same for all images."""

    manifest: S3Ref
    images: int
    normal: int
    anomalous: int
    masks: int
    anomaly_types: tuple[str, ...]
    width: int
    height: int
    #: Number of files of the source that were not staged, by reason.
    skipped: Mapping[str, int] = field(default_factory=dict)
    #: How other sizes are fitted, such as 'scaled to 640x480'; None if they are refused.
    fit: str | None = None
    #: Number of images that were fitted.
    fitted: int = 0


@dataclass(frozen=True)
class _Staged:
    item: ManifestItem
    info: ImageInfo
    line: dict[str, Any]


def stage_training(
    source: str,
    reader: SourceReader,
    staging: Staging,
    *,
    names: LabelNames = USUAL,
    progress: Callable[[str], None] = lambda _: None,
    needs_labels: bool = True,
    fit: FitMode | None = None,
) -> tuple[StagedDataset, StagedDataset | None]:
    """Check every row of `source`, copy its images and masks, and write manifests of the copies.

    Without `needs_labels`, rows without a label are skipped and counted, because a data set of
    Lookout for Vision may contain unlabelled images. With `fit`, images are fitted to the usual
    size of the training images; otherwise images of other sizes are refused.

    Returns:
        The training images, and the test images if the source defines a split, by folders such as
        `train/` and `test/` or by a column such as `split`.

    Raises:
        TrainingDataInvalid: Rows cannot be trained on (bad line, no label, unreadable image or
            mask, other dimensions than most), or the source has no training images. The error
            lists all such rows.
        ManifestError: The manifest itself cannot be used.
        SourceError: The source or the bucket fails.
    """
    if fit is not None:
        reader = reader.with_fit(_common_fit(fit, source, reader, names))
    stager = _Stager(reader, staging, names, progress, needs_labels)
    staged, skipped = stager.stage(source)
    train, test = _by_split(staged)
    if not train:
        raise TrainingDataInvalid(
            f"{source} marks every image as a test image; give training images, and these with "
            "--test."
        )
    return stager.write(train, skipped.reasons), stager.write(test, {}) if test else None


def stage_dataset(
    source: str,
    reader: SourceReader,
    staging: Staging,
    *,
    names: LabelNames = USUAL,
    progress: Callable[[str], None] = lambda _: None,
    needs_labels: bool = True,
) -> StagedDataset:
    """Stage one dataset: the images that `source` marks as tests, or else all of them.

    Images are fitted if the reader has a fit. For arguments and errors see `stage_training`.
    """
    stager = _Stager(reader, staging, names, progress, needs_labels)
    staged, skipped = stager.stage(source)
    _, test = _by_split(staged)
    return stager.write(test or staged, skipped.reasons)


def _common_fit(mode: FitMode, source: str, reader: SourceReader, names: LabelNames) -> Fit | None:
    """Return the fit to the usual size of the training images; None if none can be read."""

    def size_of(item: ManifestItem) -> tuple[int, int] | None:
        try:
            header = check_header(reader.read_unfitted(item.source_ref)[0], LIMITS)
        except (ImageError, SourceError):
            return None  # staging reports the problem
        return header.width, header.height

    sizes: list[tuple[int, int]] = []
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="measuring") as pool:
        records = read_manifest(source, reader, profile=replace(TRAINING, names=names))
        items = (record for record in records if isinstance(record, ManifestItem))
        training = (one for one in items if split_of(one.attributes) not in {TEST, VALIDATION})
        while chunk := list(islice(training, _CHUNK)):
            sizes += filter(None, pool.map(size_of, chunk))
    return Fit(mode, *common_size(sizes)) if sizes else None


@dataclass(frozen=True)
class _Stager:
    """Stages sources by one reader, at one target."""

    reader: SourceReader
    staging: Staging
    names: LabelNames
    progress: Callable[[str], None]
    needs_labels: bool

    @property
    def _store(self) -> ObjectStore:
        return self.reader.bucket(self.staging.bucket)

    def stage(self, source: str) -> tuple[list[_Staged], Skipped]:
        staged: list[_Staged] = []
        problems: list[BadLine] = []
        unlabelled: list[BadLine] = []
        skipped = Skipped()
        profile = replace(TRAINING, names=self.names)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="staging") as pool:
            records = read_manifest(source, self.reader, profile=profile, skipped=skipped)
            while chunk := list(islice(records, _CHUNK)):
                outcomes = pool.map(self._row, chunk)
                for record, outcome in zip(chunk, outcomes, strict=True):
                    if isinstance(outcome, BadLine) and outcome.code == "label_missing":
                        if _is_unlabelled_test(record):
                            skipped.reasons["test images without a label"] += 1
                        else:
                            unlabelled.append(outcome)
                    elif isinstance(outcome, BadLine):
                        problems.append(outcome)
                    else:
                        staged.append(outcome)
                self.progress(f"{count_of(len(staged), 'image')} checked and staged")
        if self.needs_labels:
            problems += unlabelled
        elif unlabelled:
            skipped.reasons["images without a label"] += len(unlabelled)
        problems += _odd_dimensions(staged)
        if problems:
            raise _invalid(source, problems)
        if not staged:
            raise TrainingDataInvalid(f"{source} lists no images. {skipped}".rstrip())
        if skipped.reasons:
            self.progress(str(skipped))
        return staged, skipped

    def write(self, staged: Sequence[_Staged], skipped: Mapping[str, int]) -> StagedDataset:
        """Write a manifest of staged rows, and return what it lists."""
        text = "".join(
            json.dumps(each.line, ensure_ascii=False, separators=(",", ":")) + "\n"
            for each in staged
        ).encode()
        key = self.staging.key("manifests", hashlib.sha256(text).hexdigest() + ".manifest")
        self._store.put(key, text)
        anomalous = sum(bool(each.item.is_anomalous) for each in staged)
        types = {
            name
            for each in staged
            for name in each.item.mask_colors.values()
            if each.item.is_anomalous and not is_background(name)
        }
        return StagedDataset(
            manifest=S3Ref(self.staging.bucket, key),
            images=len(staged),
            normal=len(staged) - anomalous,
            anomalous=anomalous,
            masks=sum(MASK in each.line for each in staged),
            anomaly_types=tuple(sorted(types)),
            width=staged[0].info.width,
            height=staged[0].info.height,
            skipped=dict(skipped),
            fit=None if self.reader.fit is None else str(self.reader.fit),
            fitted=sum(recorded_fit(each.line) is not None for each in staged),
        )

    def _row(self, record: ManifestItem | BadLine) -> _Staged | BadLine:
        """Check and copy one row; return a BadLine if it is unusable.

        Raises SourceError if a store fails in a way that may be retried, or the bucket cannot be
        written.
        """
        if isinstance(record, BadLine):
            return record
        what = record.written_ref
        if record.is_anomalous is None:
            return _problem(record, "label_missing", _without_label(record, self.names))
        mask = mask_info = None
        try:
            data, converted_from = self.reader.read_image(record.source_ref)
            info = check_image(data, DEFAULT_LIMITS)
            # Normal images have dummy masks.
            if record.mask_ref is not None and record.is_anomalous:
                what = record.mask_ref
                mask = read_mask(record, self.reader)
                mask_info = check_image(mask.png, MASK_LIMITS)
        except ImageError as error:
            return _problem(record, error.code, f"{what}: {error}")
        except SourceError as error:
            if error.retryable:
                raise
            return _problem(record, error.code, str(error))
        place = record.source_ref if converted_from is None else None
        image = self._put(place, data, info, "images")
        mask_copy = None
        if mask is not None and mask_info is not None:
            mask_copy = str(self._put(mask.ref, mask.png, mask_info, "masks"))
        original = record.written_ref if str(image) != record.source_ref else None
        line = labelled_row(
            str(image), record.is_anomalous, mask_copy, record.mask_colors, original
        )
        if converted_from is not None:
            line[CONVERTED_FROM] = converted_from
        return _Staged(record, info, line)

    def _put(self, ref: str | None, data: bytes, info: ImageInfo, folder: str) -> S3Ref:
        """Store content in the bucket, unless it is already there, and return its reference."""
        parsed = parse_ref(ref) if ref is not None else None
        if isinstance(parsed, S3Ref) and parsed.bucket == self.staging.bucket:
            return parsed
        key = self.staging.key(folder, info.sha256[:2], info.sha256 + ENDINGS[info.format])
        if self._store.size_of(key) != info.size_bytes:
            self._store.put(key, Path(parsed.path) if isinstance(parsed, FileRef) else data)
        return S3Ref(self.staging.bucket, key)


def _is_unlabelled_test(record: ManifestItem | BadLine) -> bool:
    """Whether a test image has no label at all, as in data sets that withhold the answers."""
    return (
        isinstance(record, ManifestItem)
        and split_of(record.attributes) == TEST
        and record.found_label is None
        and LABEL_PROBLEM not in record.attributes
    )


def _by_split(staged: Sequence[_Staged]) -> tuple[list[_Staged], list[_Staged]]:
    """Split into training and test images; without a test set, the validation set is used."""
    splits = [split_of(each.item.attributes) for each in staged]
    test_names = {TEST} if TEST in splits else {VALIDATION}
    train = [each for each, split in zip(staged, splits, strict=True) if split not in test_names]
    test = [each for each, split in zip(staged, splits, strict=True) if split in test_names]
    return train, test


def _without_label(item: ManifestItem, names: LabelNames) -> str:
    if (problem := item.attributes.get(LABEL_PROBLEM)) is not None:
        return f"{item.written_ref} has no label. {problem}"
    if item.found_label is None:
        return (
            f"{item.written_ref} is labelled neither normal nor anomaly. Put images into "
            "normal/ and anomaly/, or give a manifest with labels."
        )
    found = item.found_label[:80]
    close = names.close_to(found)
    slash = "/" if found in item.written_ref.split("/")[:-1] else ""
    meant = f"did you mean {close}{slash}? Otherwise " if close is not None else ""
    return (
        f"{item.written_ref} is labelled {found!r}, which is not known as normal or anomaly: "
        f"{meant}declare it with --normal {shlex.quote(found)} or --anomaly {shlex.quote(found)}."
    )


def _odd_dimensions(staged: Sequence[_Staged]) -> Iterator[BadLine]:
    """Yield images with other dimensions than most, because a model needs one size."""
    sizes = Counter((each.info.width, each.info.height) for each in staged)
    if len(sizes) < 2:
        return
    (width, height), _ = sizes.most_common(1)[0]
    train, test = _by_split(staged)
    common = common_size([(each.info.width, each.info.height) for each in train or test])
    advice = _FITS[fit_for(sizes, common)]
    for each in staged:
        found = each.info
        if (found.width, found.height) != (width, height):
            yield _problem(
                each.item,
                "image_dimensions_mismatch",
                f"{each.item.written_ref} is {found.width}x{found.height} pixels, "
                f"but most images are {width}x{height} ({advice}).",
            )


def check_same_dimensions(train: StagedDataset, test: StagedDataset | None) -> None:
    """Raise TrainingDataInvalid if test images differ in width or height from training images."""
    if test is not None and (train.width, train.height) != (test.width, test.height):
        raise TrainingDataInvalid(
            f"The training images are {train.width}x{train.height} pixels, the test images "
            f"{test.width}x{test.height}; all images of a model must have the same dimensions."
        )


def _problem(item: ManifestItem, code: str, message: str) -> BadLine:
    return BadLine(item.line_number, item.written_ref, code, message)


def _invalid(source: str, problems: list[BadLine]) -> LfvError:
    problems = sorted(problems, key=lambda problem: problem.line_number)
    lines = {problem.line_number for problem in problems}
    causes: dict[tuple[str, str], list[BadLine]] = {}
    for problem in problems:
        causes.setdefault(_cause(problem), []).append(problem)
    shown = [_example(alike) for alike in islice(causes.values(), _SHOWN)]
    if hidden := sum(len(alike) for alike in islice(causes.values(), _SHOWN, None)):
        shown.append(f"and {hidden:,} more")
    if all(problem.code == "label_missing" for problem in problems):
        shown.append("(`lfv import` reads annotations of COCO, VOC and YOLO.)")
    return TrainingDataInvalid(
        f"{count_of(len(lines), 'line')} of {source} cannot be used for training: "
        f"{' '.join(shown)}",
        problems,
    )


def _cause(problem: BadLine) -> tuple[str, str]:
    """Return the common part of problems that one change fixes."""
    words = problem.message.replace(problem.text, "")
    if problem.code == "label_missing":
        return problem.code, words
    if problem.code == "image_dimensions_mismatch":  # the message has the remedy
        return problem.code, _DIGITS.sub("", words)
    return problem.code, ""


def _example(alike: Sequence[BadLine]) -> str:
    """Describe the first of several problems with the same cause, and their number."""
    first, others = alike[0], len(alike) - 1
    also = f" (and {count_of(others, 'line')} like it)" if others else ""
    return f"line {first.line_number}{also}: {first.message}"
