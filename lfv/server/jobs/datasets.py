"""Reads manifests into datasets, and applies changes to datasets."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from lfv.formats.errors import ManifestError
from lfv.formats.manifest.lines import RawLine
from lfv.formats.manifest.records import LineError
from lfv.formats.words import count_of
from lfv.server.database import Transaction
from lfv.server.errors import BucketError, DiskFullError
from lfv.server.home import DISK_FULL
from lfv.server.jobs.context import JobContext
from lfv.server.lifecycle import DatasetStatus
from lfv.server.manifests import (
    Entry,
    ManifestTooLargeError,
    entry_lines,
    location,
    parse_entry,
    stored_entry,
)
from lfv.server.state import datasets
from lfv.server.state.datasets import Dataset, EntryFilter
from lfv.server.write_retries import ServiceEndingError

_log = logging.getLogger(__name__)
_MOST_PROBLEMS = 5
#: Lines of a dataset that are checked at a time.
_PAGE = 1000


class _FailedError(Exception):
    """The whole manifest, or all changes, are refused; the message has the reason."""


@dataclass
class _Reading:
    """The entries read, by source-ref in the order of their lines, and the problems of others."""

    entries: dict[str, Entry] = field(default_factory=dict)
    lines: int = 0
    repeated: int = 0
    problems: list[str] = field(default_factory=list)
    bad: int = 0
    bucket: str | None = None
    types: set[str] = field(default_factory=set)

    def refuse(self, number: int, why: object) -> None:
        self.bad += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"line {number}: {str(why).rstrip('.')}")

    def summary(self) -> str:
        more = self.bad - len(self.problems)
        return "; ".join(self.problems) + (f"; and {more} more" if more else "")


@dataclass(frozen=True)
class _End:
    """The result of a job. The entries read are added or, with ``replace``, replace all others."""

    status: DatasetStatus
    message: str
    reading: _Reading | None = None
    replace: bool = False


def run_job(context: JobContext, project_id: int, kind: str) -> None:
    """Finish the creation or update of a dataset that is in progress; record why if it fails.

    A creation leaves out lines that cannot be used; one such line rolls back a whole update.
    """
    with suppress(ServiceEndingError):  # the next service continues it
        dataset = context.record(
            lambda tx: datasets.find(tx, project_id, kind), f"a {kind} dataset is being read"
        )
        if dataset is None or dataset.status not in _JOBS:
            return
        job, failed, sentence = _JOBS[dataset.status]
        try:
            end = job(context, dataset)
        except ServiceEndingError:
            raise
        except (_FailedError, BucketError, ManifestError, ManifestTooLargeError) as error:
            end = _End(failed, f"{sentence}: {error}")
        except Exception:  # noqa: BLE001 (any error must end the job)
            _log.exception("dataset %s/%s", dataset.project_name, dataset.kind)
            end = _End(failed, f"{sentence}; the service's log says why.")
        try:
            _record(context, dataset, end)
        except DiskFullError:
            _record(context, dataset, _End(failed, f"{sentence}: {DISK_FULL}"))


def _create(context: JobContext, dataset: Dataset) -> _End:
    reading = _read_source(context, dataset)
    message = f"The dataset was created from {count_of(len(reading.entries), 'line')}."
    if reading.repeated:
        message += f" {reading.repeated} replaced earlier ones with the same source-ref."
    if reading.bad:
        message += f" {count_of(reading.bad, 'line')} could not be used: {reading.summary()}."
    return _End(DatasetStatus.CREATE_COMPLETE, message, reading, replace=True)


def _apply(context: JobContext, dataset: Dataset) -> _End:
    reading = _read_changes(context, dataset)
    message = f"{count_of(len(reading.entries), 'line')} added or replaced."
    return _End(DatasetStatus.UPDATE_COMPLETE, message, reading)


#: By the status of a dataset in progress: the job, and its end if it fails.
_JOBS: dict[DatasetStatus, tuple[Callable[[JobContext, Dataset], _End], DatasetStatus, str]] = {
    DatasetStatus.CREATE_IN_PROGRESS: (
        _create,
        DatasetStatus.CREATE_FAILED,
        "The dataset was not created",
    ),
    DatasetStatus.UPDATE_IN_PROGRESS: (
        _apply,
        DatasetStatus.UPDATE_FAILED_ROLLBACK_COMPLETE,
        "Nothing was changed",
    ),
}


def _read_source(context: JobContext, dataset: Dataset) -> _Reading:
    source = dataset.source
    if source is None:
        raise _FailedError("there is no manifest to read")
    with context.buckets.open(source.bucket, source.key, source.version) as file:
        lines = entry_lines(file, context.limits.manifest_bytes)
        reading = _read(context, dataset, lines, None)
    if not reading.entries:
        raise _FailedError(f"the manifest has no usable line. {reading.summary()}".strip())
    return reading


def _read_changes(context: JobContext, dataset: Dataset) -> _Reading:
    changes, known = context.record(
        lambda tx: (datasets.pending_changes(tx, dataset), datasets.first_ref(tx, dataset)),
        _change_title(dataset),
    )
    lines = entry_lines(io.BytesIO(changes), len(changes))
    reading = _read(context, dataset, lines, location(known)[0] if known else None)
    if reading.bad:
        raise _FailedError(f"{count_of(reading.bad, 'line')} can't be used: {reading.summary()}")
    if not reading.entries:
        raise _FailedError("there are no lines in the changes")
    _check_total(context, dataset, reading)
    return reading


def _read(
    context: JobContext, dataset: Dataset, lines: Iterable[RawLine], bucket: str | None
) -> _Reading:
    limits = context.limits
    allowed = limits.train_images if dataset.kind == "train" else limits.test_images
    reading = _Reading(bucket=bucket)
    for line in lines:
        if context.stopping.is_set():
            raise ServiceEndingError
        reading.lines += 1
        try:
            entry = parse_entry(line, limits.anomaly_types_per_mask)
            _check_refs(context, reading, entry)
        except LineError as error:
            reading.refuse(line.number, error)
            continue
        reading.repeated += entry.source_ref in reading.entries
        reading.entries[entry.source_ref] = entry
        reading.types |= entry.anomaly_types
        if len(reading.entries) > allowed:
            raise _FailedError(f"more than {allowed} images, the limit of this dataset")
        if len(reading.types) > limits.anomaly_types:
            raise _FailedError(f"more than {limits.anomaly_types} anomaly types")
    return reading


def _check_refs(context: JobContext, reading: _Reading, entry: Entry) -> None:
    """Check that images and masks have valid keys in one bucket, as the original required.

    Raises LineError.
    """
    for ref in (entry.item.source_ref, entry.item.mask_ref):
        if ref is None:
            continue
        bucket, key = location(ref)
        try:
            context.buckets.check_key(bucket, key)
        except BucketError as error:
            raise LineError("source_ref_invalid", str(error)) from error
        if reading.bucket is None:
            reading.bucket = bucket
        if bucket != reading.bucket:
            raise LineError(
                "source_outside",
                f"{bucket} is not the other images' bucket, {reading.bucket}",
            )


def _check_total(context: JobContext, dataset: Dataset, reading: _Reading) -> None:
    """Check the limits of the dataset after the changes. Raises _FailedError."""
    limits = context.limits
    allowed = limits.train_images if dataset.kind == "train" else limits.test_images
    total, known = context.record(
        lambda tx: (
            datasets.stats(tx, dataset).total,
            sum(datasets.has_ref(tx, dataset, ref) for ref in reading.entries),
        ),
        _change_title(dataset),
    )
    if total + len(reading.entries) - known > allowed:
        raise _FailedError(f"more than {allowed} images, the limit of this dataset")
    if len(reading.types | _types_kept(context, dataset, reading)) > limits.anomaly_types:
        raise _FailedError(f"more than {limits.anomaly_types} anomaly types in the dataset")


def _types_kept(context: JobContext, dataset: Dataset, reading: _Reading) -> set[str]:
    """Return the anomaly types of the lines that stay; empty if the changes have no types."""
    kept: set[str] = set()
    after = 0

    def page(tx: Transaction) -> list[tuple[int, str]]:
        return datasets.page(tx, dataset, EntryFilter(), after, _PAGE)

    while reading.types:
        lines = context.record(page, _change_title(dataset))
        for _, line in lines:
            if "internal-color-map" in line:  # other lines have no types
                entry = stored_entry(line)
                if entry.source_ref not in reading.entries:
                    kept |= entry.anomaly_types
        if len(lines) < _PAGE:
            break
        after = lines[-1][0]
    return kept


def _record(context: JobContext, dataset: Dataset, end: _End) -> None:
    """Record the result. Raises DiskFullError if its lines do not fit on the disk."""
    now = context.clock()

    def write(tx: Transaction) -> bool:
        if not _is_current(tx, dataset):
            return False
        if end.replace:
            datasets.clear_entries(tx, dataset)
        if end.reading is not None:
            datasets.put_entries(tx, dataset, end.reading.entries.values(), now)
        datasets.set_status(tx, dataset, end.status, end.message, now)
        return True

    name = f"{dataset.project_name}/{dataset.kind}"
    give_up_on = None if end.reading is None else DiskFullError
    if context.record(write, f"dataset {name}: {end.status}", give_up_on=give_up_on):
        _log.info("dataset %s: %s", name, end.status)


def _change_title(dataset: Dataset) -> str:
    return f"dataset {dataset.project_name}/{dataset.kind}: its changes are being checked"


def _is_current(tx: Transaction, dataset: Dataset) -> bool:
    found = datasets.find(tx, dataset.project_id, dataset.kind)
    return found is not None and found.created_at == dataset.created_at
