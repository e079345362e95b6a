"""Datasets and their entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.lifecycle import DATASET_BUSY, DATASET_USABLE, DatasetStatus
from lfv.server.manifests import Entry
from lfv.server.state import tables
from lfv.server.state.projects import Project


@dataclass(frozen=True)
class Source:
    bucket: str
    key: str
    version: str | None


@dataclass(frozen=True)
class Dataset:
    project_id: int
    project_name: str
    kind: str
    created_at: float
    updated_at: float
    status: DatasetStatus
    message: str
    source: Source | None

    @property
    def is_usable(self) -> bool:
        return self.status in DATASET_USABLE


@dataclass(frozen=True)
class ImageStats:
    total: int
    normal: int
    anomaly: int


@dataclass(frozen=True)
class EntryFilter:
    labeled: bool | None = None
    label: str | None = None
    before: float | None = None
    after: float | None = None
    ref_contains: str | None = None


_DATASETS = tables.datasets.c
_ENTRIES = tables.entries.c


def create(tx: Transaction, project: Project, kind: str, source: Source | None, now: float) -> None:
    """Create a dataset. Raises ConflictError if the project has one of this kind."""
    if find(tx, project.id, kind) is not None:
        raise ConflictError(
            f"project {project.name} already has a {kind} dataset",
            f"{project.name}/{kind}",
            "DATASET",
        )
    busy, done = DatasetStatus.CREATE_IN_PROGRESS, DatasetStatus.CREATE_COMPLETE
    tx.execute(
        insert(tables.datasets).values(
            project_id=project.id,
            kind=kind,
            created_at=now,
            updated_at=now,
            status=busy if source else done,
            message="The manifest is being read." if source else "The dataset is empty.",
            source_bucket=source.bucket if source else None,
            source_key=source.key if source else None,
            source_version=source.version if source else None,
        )
    )


def get(tx: Transaction, project: Project, kind: str) -> Dataset:
    """Return a dataset. Raises NotFoundError."""
    found = find(tx, project.id, kind)
    if found is None:
        raise NotFoundError(
            f"project {project.name} has no {kind} dataset", f"{project.name}/{kind}", "DATASET"
        )
    return found


def find(tx: Transaction, project_id: int, kind: str) -> Dataset | None:
    row = tx.one(_select().where(_key(project_id, kind)))
    return None if row is None else _dataset(row)


def of_project(tx: Transaction, project: Project) -> list[Dataset]:
    query = _select().where(_DATASETS.project_id == project.id).order_by(_DATASETS.kind.desc())
    return [_dataset(row) for row in tx.all(query)]


def unfinished(tx: Transaction) -> list[Dataset]:
    """Return the datasets that are being created or updated."""
    return [_dataset(row) for row in tx.all(_select().where(_DATASETS.status.in_(DATASET_BUSY)))]


def set_status(
    tx: Transaction, dataset: Dataset, status: DatasetStatus, message: str, now: float
) -> None:
    """Record how a job on the dataset ended, and remove its pending changes."""
    tx.execute(
        update(tables.datasets)
        .where(_key(dataset.project_id, dataset.kind))
        .values(status=status, message=message, updated_at=now, pending_changes=None)
    )


def begin_update(tx: Transaction, dataset: Dataset, changes: bytes, now: float) -> None:
    """Store changes to apply. Raises ConflictError if a job runs, or if the creation failed."""
    if not dataset.is_usable:
        raise _busy(dataset)
    tx.execute(
        update(tables.datasets)
        .where(_key(dataset.project_id, dataset.kind))
        .values(
            status=DatasetStatus.UPDATE_IN_PROGRESS,
            message="The changes are being applied.",
            updated_at=now,
            pending_changes=changes,
        )
    )


def pending_changes(tx: Transaction, dataset: Dataset) -> bytes:
    query = select(_DATASETS.pending_changes).where(_key(dataset.project_id, dataset.kind))
    return bytes(tx.scalar(query) or b"")


def remove(tx: Transaction, dataset: Dataset) -> None:
    """Delete a dataset. Raises ConflictError while it is being created or updated."""
    if dataset.status in DATASET_BUSY:
        raise _busy(dataset)
    tx.execute(delete(tables.datasets).where(_key(dataset.project_id, dataset.kind)))


def put_entries(tx: Transaction, dataset: Dataset, entries: Iterable[Entry], now: float) -> None:
    """Add entries; an entry with a stored source-ref replaces the stored entry."""
    rows = [
        {
            "project_id": dataset.project_id,
            "kind": dataset.kind,
            "source_ref": entry.source_ref,
            "line": entry.line,
            "label": entry.label,
            "labelled_at": now if entry.labelled_at is None else entry.labelled_at,
        }
        for entry in entries
    ]
    if rows:
        tx.execute(_PUT_ENTRY, rows)


def clear_entries(tx: Transaction, dataset: Dataset) -> None:
    tx.execute(delete(tables.entries).where(_entries_of(dataset)))


def first_ref(tx: Transaction, dataset: Dataset) -> str | None:
    query = select(_ENTRIES.source_ref).where(_entries_of(dataset)).order_by(_ENTRIES.id)
    ref: str | None = tx.scalar(query.limit(1))
    return ref


def has_ref(tx: Transaction, dataset: Dataset, ref: str) -> bool:
    query = select(_ENTRIES.id).where(_entries_of(dataset), _ENTRIES.source_ref == ref)
    return tx.one(query) is not None


def stats(tx: Transaction, dataset: Dataset) -> ImageStats:
    row = tx.one(
        select(
            func.count().label("total"),
            func.count().filter(_ENTRIES.label == "normal").label("normal"),
            func.count().filter(_ENTRIES.label == "anomaly").label("anomaly"),
        ).where(_entries_of(dataset))
    )
    return ImageStats(0, 0, 0) if row is None else ImageStats(**row)


def labelled_lines(tx: Transaction, project_id: int, kind: str) -> list[str]:
    query = select(_ENTRIES.line).where(
        _ENTRIES.project_id == project_id, _ENTRIES.kind == kind, _ENTRIES.label.is_not(None)
    )
    return [row["line"] for row in tx.all(query.order_by(_ENTRIES.id))]


def page(
    tx: Transaction, dataset: Dataset, wanted: EntryFilter, after: int, size: int
) -> list[tuple[int, str]]:
    """Return (id, line) of up to `size` entries, in the order in which they were added."""
    query = select(_ENTRIES.id, _ENTRIES.line).where(_entries_of(dataset), _ENTRIES.id > after)
    if wanted.labeled is not None:
        unlabelled = _ENTRIES.label.is_(None)
        query = query.where(~unlabelled if wanted.labeled else unlabelled)
    if wanted.label is not None:
        query = query.where(_ENTRIES.label == wanted.label)
    if wanted.before is not None:
        query = query.where(_ENTRIES.labelled_at < wanted.before)
    if wanted.after is not None:
        query = query.where(_ENTRIES.labelled_at > wanted.after)
    if wanted.ref_contains is not None:
        query = query.where(func.instr(_ENTRIES.source_ref, wanted.ref_contains) > 0)
    return [(row["id"], row["line"]) for row in tx.all(query.order_by(_ENTRIES.id).limit(size))]


def _put_entry() -> Insert:
    statement = upsert(tables.entries)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[_ENTRIES.project_id, _ENTRIES.kind, _ENTRIES.source_ref],
        set_={"line": new.line, "label": new.label, "labelled_at": new.labelled_at},
    )


_PUT_ENTRY = _put_entry()


def _select() -> Select[Any]:
    projects = tables.projects
    return select(tables.datasets, projects.c.name.label("project_name")).join(projects)


def _key(project_id: int, kind: str) -> ColumnElement[bool]:
    return and_(_DATASETS.project_id == project_id, _DATASETS.kind == kind)


def _entries_of(dataset: Dataset) -> ColumnElement[bool]:
    return and_(_ENTRIES.project_id == dataset.project_id, _ENTRIES.kind == dataset.kind)


def _busy(dataset: Dataset) -> ConflictError:
    return ConflictError(
        f"the {dataset.kind} dataset of {dataset.project_name} is {dataset.status}",
        f"{dataset.project_name}/{dataset.kind}",
        "DATASET",
    )


def _dataset(row: RowMapping) -> Dataset:
    source = None
    if row["source_bucket"] is not None:
        source = Source(row["source_bucket"], row["source_key"], row["source_version"])
    return Dataset(
        row["project_id"],
        row["project_name"],
        row["kind"],
        row["created_at"],
        row["updated_at"],
        DatasetStatus(row["status"]),
        row["message"],
        source,
    )
