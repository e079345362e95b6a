"""Datasets and their entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lfv.server.database import Row, Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.manifests import Entry
from lfv.server.state.projects import Project
from lfv.server.states import DATASET_BUSY, DATASET_USABLE, DatasetStatus


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


_SELECT = "SELECT d.*, p.name AS project_name FROM datasets d JOIN projects p ON p.id = project_id"


def create(tx: Transaction, project: Project, kind: str, source: Source | None, now: float) -> None:
    """Raises ConflictError if the project has one of that kind."""
    if tx.one("SELECT 1 FROM datasets WHERE project_id = ? AND kind = ?", [project.id, kind]):
        raise ConflictError(
            f"project {project.name} has a {kind} dataset already",
            f"{project.name}/{kind}",
            "DATASET",
        )
    busy, done = DatasetStatus.CREATE_IN_PROGRESS, DatasetStatus.CREATE_COMPLETE
    status, message = (
        (busy, "The manifest is being read.") if source else (done, "The dataset is empty.")
    )
    at = source or Source(None, None, None)  # type: ignore[arg-type]
    tx.execute(
        "INSERT INTO datasets (project_id, kind, created_at, updated_at, status, message,"
        " source_bucket, source_key, source_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [project.id, kind, now, now, status, message, at.bucket, at.key, at.version],
    )


def get(tx: Transaction, project: Project, kind: str) -> Dataset:
    """Raises NotFoundError."""
    found = find(tx, project.id, kind)
    if found is None:
        raise NotFoundError(
            f"project {project.name} has no {kind} dataset", f"{project.name}/{kind}", "DATASET"
        )
    return found


def find(tx: Transaction, project_id: int, kind: str) -> Dataset | None:
    row = tx.one(f"{_SELECT} WHERE project_id = ? AND kind = ?", [project_id, kind])
    return None if row is None else _dataset(row)


def of_project(tx: Transaction, project: Project) -> list[Dataset]:
    rows = tx.all(f"{_SELECT} WHERE project_id = ? ORDER BY kind DESC", [project.id])
    return [_dataset(row) for row in rows]


def unfinished(tx: Transaction) -> list[Dataset]:
    """Those whose job was cut off."""
    marks = ", ".join("?" * len(DATASET_BUSY))
    rows = tx.all(f"{_SELECT} WHERE status IN ({marks})", [*DATASET_BUSY])
    return [_dataset(row) for row in rows]


def set_status(
    tx: Transaction, dataset: Dataset, status: DatasetStatus, message: str, now: float
) -> None:
    tx.execute(
        "UPDATE datasets SET status = ?, message = ?, updated_at = ?, pending_changes = NULL"
        " WHERE project_id = ? AND kind = ?",
        [status, message, now, dataset.project_id, dataset.kind],
    )


def begin_update(tx: Transaction, dataset: Dataset, changes: bytes, now: float) -> None:
    """Raises ConflictError while it is being made or updated, or if making it failed."""
    if not dataset.is_usable:
        raise ConflictError(
            f"the {dataset.kind} dataset of {dataset.project_name} is {dataset.status}",
            f"{dataset.project_name}/{dataset.kind}",
            "DATASET",
        )
    tx.execute(
        "UPDATE datasets SET status = ?, message = ?, updated_at = ?, pending_changes = ?"
        " WHERE project_id = ? AND kind = ?",
        [
            DatasetStatus.UPDATE_IN_PROGRESS,
            "The changes are being applied.",
            now,
            changes,
            dataset.project_id,
            dataset.kind,
        ],
    )


def pending_changes(tx: Transaction, dataset: Dataset) -> bytes:
    found = tx.scalar(
        "SELECT pending_changes FROM datasets WHERE project_id = ? AND kind = ?",
        [dataset.project_id, dataset.kind],
    )
    return bytes(found or b"")


def delete(tx: Transaction, dataset: Dataset) -> None:
    """Raises ConflictError while a job works on it."""
    if dataset.status in DATASET_BUSY:
        raise ConflictError(
            f"the {dataset.kind} dataset of {dataset.project_name} is {dataset.status}",
            f"{dataset.project_name}/{dataset.kind}",
            "DATASET",
        )
    tx.execute(
        "DELETE FROM datasets WHERE project_id = ? AND kind = ?", [dataset.project_id, dataset.kind]
    )


def put_entries(tx: Transaction, dataset: Dataset, entries: Iterable[Entry], now: float) -> None:
    """Add entries; one with a known source-ref takes the place of the old one."""
    tx.execute_many(
        "INSERT INTO entries (project_id, kind, source_ref, line, label, labelled_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (project_id, kind, source_ref) DO UPDATE SET"
        " line = excluded.line, label = excluded.label, labelled_at = excluded.labelled_at",
        (
            (
                dataset.project_id,
                dataset.kind,
                entry.source_ref,
                entry.line,
                entry.label,
                now if entry.labelled_at is None else entry.labelled_at,
            )
            for entry in entries
        ),
    )


def clear_entries(tx: Transaction, dataset: Dataset) -> None:
    tx.execute(
        "DELETE FROM entries WHERE project_id = ? AND kind = ?", [dataset.project_id, dataset.kind]
    )


def first_ref(tx: Transaction, dataset: Dataset) -> str | None:
    ref: str | None = tx.scalar(
        "SELECT source_ref FROM entries WHERE project_id = ? AND kind = ? ORDER BY id LIMIT 1",
        [dataset.project_id, dataset.kind],
    )
    return ref


def has_ref(tx: Transaction, dataset: Dataset, ref: str) -> bool:
    query = "SELECT 1 FROM entries WHERE project_id = ? AND kind = ? AND source_ref = ?"
    return tx.one(query, [dataset.project_id, dataset.kind, ref]) is not None


def stats(tx: Transaction, dataset: Dataset) -> ImageStats:
    row = tx.one(
        "SELECT count(*) AS total, count(*) FILTER (WHERE label = 'normal') AS normal,"
        " count(*) FILTER (WHERE label = 'anomaly') AS anomaly"
        " FROM entries WHERE project_id = ? AND kind = ?",
        [dataset.project_id, dataset.kind],
    )
    return ImageStats(0, 0, 0) if row is None else ImageStats(*row)


def labelled_lines(tx: Transaction, project_id: int, kind: str) -> list[str]:
    rows = tx.all(
        "SELECT line FROM entries WHERE project_id = ? AND kind = ? AND label IS NOT NULL"
        " ORDER BY id",
        [project_id, kind],
    )
    return [row["line"] for row in rows]


def page(
    tx: Transaction, dataset: Dataset, wanted: EntryFilter, after: int, size: int
) -> list[tuple[int, str]]:
    """(id, line) in the order in which the images came."""
    where = ["project_id = ?", "kind = ?", "id > ?"]
    values: list[Any] = [dataset.project_id, dataset.kind, after]
    if wanted.labeled is not None:
        where.append(f"label IS {'NOT ' if wanted.labeled else ''}NULL")
    for condition, value in (
        ("label = ?", wanted.label),
        ("labelled_at < ?", wanted.before),
        ("labelled_at > ?", wanted.after),
        ("instr(source_ref, ?) > 0", wanted.ref_contains),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    rows = tx.all(
        f"SELECT id, line FROM entries WHERE {' AND '.join(where)} ORDER BY id LIMIT ?",  # noqa: S608
        [*values, size],
    )
    return [(row["id"], row["line"]) for row in rows]


def _dataset(row: Row) -> Dataset:
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
