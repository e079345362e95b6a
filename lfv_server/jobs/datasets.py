"""Reading a manifest into a dataset, and applying changes to one."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from lfv_server.buckets import parse_ref
from lfv_server.database import Transaction
from lfv_server.errors import BucketError
from lfv_server.jobs.context import JobContext, ServiceEndingError
from lfv_server.manifests import (
    BadLineError,
    Entry,
    ManifestTooLargeError,
    numbered_lines,
    parse_entry,
)
from lfv_server.state import datasets
from lfv_server.state.datasets import Dataset
from lfv_server.states import DatasetStatus

_log = logging.getLogger(__name__)
_PROBLEMS_TOLD = 5


class _FailedError(Exception):
    """The whole manifest, or all changes, can't be taken; the message says why."""


@dataclass
class _Reading:
    """Entries by source-ref in the order they came, and what was wrong with other lines."""

    entries: dict[str, Entry] = field(default_factory=dict)
    lines: int = 0
    repeated: int = 0
    problems: list[str] = field(default_factory=list)
    bad: int = 0
    bucket: str | None = None
    types: set[str] = field(default_factory=set)

    def refuse(self, number: int, why: object) -> None:
        self.bad += 1
        if len(self.problems) < _PROBLEMS_TOLD:
            self.problems.append(f"line {number}: {why}")

    def told(self) -> str:
        more = self.bad - len(self.problems)
        return "; ".join(self.problems) + (f"; and {more} more" if more else "")


def read_manifest(context: JobContext, project_id: int, kind: str) -> None:
    """CREATE_IN_PROGRESS to CREATE_COMPLETE, or CREATE_FAILED with the reason."""
    with context.database.transaction() as tx:
        dataset = datasets.find(tx, project_id, kind)
    if dataset is None or dataset.status != DatasetStatus.CREATE_IN_PROGRESS:
        return
    try:
        reading = _read_source(context, dataset)
    except ServiceEndingError:
        return
    except (_FailedError, BucketError, ManifestTooLargeError) as error:
        _finish(context, dataset, DatasetStatus.CREATE_FAILED, f"The dataset was not made: {error}")
        return
    except Exception:  # noqa: BLE001 (whatever it is, the dataset must come to an end)
        _log.exception("dataset %s/%s", dataset.project_name, dataset.kind)
        message = "The dataset was not made; the service's log says why."
        _finish(context, dataset, DatasetStatus.CREATE_FAILED, message)
        return
    message = f"The dataset was made from {len(reading.entries)} lines."
    if reading.repeated:
        message += f" {reading.repeated} took the place of one before with the same source-ref."
    if reading.bad:
        message += f" {reading.bad} lines could not be used: {reading.told()}."
    _finish(context, dataset, DatasetStatus.CREATE_COMPLETE, message, reading, replace=True)


def apply_changes(context: JobContext, project_id: int, kind: str) -> None:
    """UPDATE_IN_PROGRESS to UPDATE_COMPLETE; a bad line rolls all changes back."""
    with context.database.transaction() as tx:
        dataset = datasets.find(tx, project_id, kind)
        if dataset is None or dataset.status != DatasetStatus.UPDATE_IN_PROGRESS:
            return
        changes = datasets.pending_changes(tx, dataset)
        known = datasets.first_ref(tx, dataset)
    try:
        reading = _read_changes(context, dataset, changes, parse_ref(known)[0] if known else None)
    except ServiceEndingError:
        return
    except _FailedError as error:
        status = DatasetStatus.UPDATE_FAILED_ROLLBACK_COMPLETE
        _finish(context, dataset, status, f"Nothing was changed: {error}")
        return
    except Exception:  # noqa: BLE001 (whatever it is, the update must come to an end)
        _log.exception("dataset %s/%s", dataset.project_name, dataset.kind)
        status = DatasetStatus.UPDATE_FAILED_ROLLBACK_COMPLETE
        _finish(context, dataset, status, "Nothing was changed; the service's log says why.")
        return
    message = f"{len(reading.entries)} lines were added or replaced."
    _finish(context, dataset, DatasetStatus.UPDATE_COMPLETE, message, reading)


def _read_source(context: JobContext, dataset: Dataset) -> _Reading:
    source = dataset.source
    if source is None:
        raise _FailedError("there is no manifest to read")
    with context.buckets.open(source.bucket, source.key, source.version) as file:
        lines = numbered_lines(file, context.limits.manifest_bytes)
        reading = _read(context, dataset, lines, None)
    if not reading.entries:
        raise _FailedError(f"the manifest has no usable line. {reading.told()}".strip())
    return reading


def _read_changes(
    context: JobContext, dataset: Dataset, changes: bytes, bucket: str | None
) -> _Reading:
    lines = numbered_lines(io.BytesIO(changes), len(changes))
    reading = _read(context, dataset, lines, bucket)
    if reading.bad:
        raise _FailedError(f"{reading.bad} lines can't be used: {reading.told()}")
    if not reading.entries:
        raise _FailedError("there are no lines in the changes")
    _check_total(context, dataset, reading)
    return reading


def _read(
    context: JobContext, dataset: Dataset, lines: Iterable[tuple[int, bytes]], bucket: str | None
) -> _Reading:
    limits = context.limits
    allowed = limits.train_images if dataset.kind == "train" else limits.test_images
    reading = _Reading(bucket=bucket)
    for number, raw in lines:
        if context.stopping.is_set():
            raise ServiceEndingError
        reading.lines += 1
        try:
            entry = parse_entry(raw, max_types=limits.anomaly_types_per_mask)
            _check_bucket(reading, entry)
        except BadLineError as error:
            reading.refuse(number, error)
            continue
        reading.repeated += entry.source_ref in reading.entries
        reading.entries[entry.source_ref] = entry
        reading.types.update(name for _, name in entry.mask_colors)
        if len(reading.entries) > allowed:
            raise _FailedError(f"more than {allowed} images; no more are allowed in this dataset")
        if len(reading.types) > limits.anomaly_types:
            raise _FailedError(f"more than {limits.anomaly_types} anomaly types")
    return reading


def _check_bucket(reading: _Reading, entry: Entry) -> None:
    """All images and masks of a dataset lie in one bucket, as the original demanded."""
    for ref in (entry.source_ref, entry.mask_ref):
        if ref is None:
            continue
        bucket = parse_ref(ref)[0]
        if reading.bucket is None:
            reading.bucket = bucket
        if bucket != reading.bucket:
            raise BadLineError(f"{bucket} is not the bucket of the other images, {reading.bucket}")


def _check_total(context: JobContext, dataset: Dataset, reading: _Reading) -> None:
    limits = context.limits
    allowed = limits.train_images if dataset.kind == "train" else limits.test_images
    with context.database.transaction() as tx:
        total = datasets.stats(tx, dataset).total
        known = sum(datasets.has_ref(tx, dataset, ref) for ref in reading.entries)
    if total + len(reading.entries) - known > allowed:
        raise _FailedError(f"more than {allowed} images; no more are allowed in this dataset")


def _finish(
    context: JobContext,
    dataset: Dataset,
    status: DatasetStatus,
    message: str,
    reading: _Reading | None = None,
    *,
    replace: bool = False,
) -> None:
    now = context.clock()
    with context.database.transaction() as tx:
        if not _is_current(tx, dataset):
            return
        if replace:
            datasets.clear_entries(tx, dataset)
        if reading is not None:
            datasets.put_entries(tx, dataset, reading.entries.values(), now)
        datasets.set_status(tx, dataset, status, message, now)
    _log.info("dataset %s/%s: %s", dataset.project_name, dataset.kind, status)


def _is_current(tx: Transaction, dataset: Dataset) -> bool:
    found = datasets.find(tx, dataset.project_id, dataset.kind)
    return found is not None and found.created_at == dataset.created_at
