"""Model packaging jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from lfv.server.database import Row, Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.state.models import Model
from lfv.server.state.projects import Project
from lfv.server.states import PackagingStatus


@dataclass(frozen=True)
class PackagingJob:
    id: int
    project_id: int
    name: str
    version: int
    configuration: dict[str, Any]
    """As in the request, with the component's version filled in."""
    description: str | None
    status: PackagingStatus
    message: str
    created_at: float
    updated_at: float
    region: str | None
    """Of the request that made it; None for a job from before this was kept."""


def create(
    tx: Transaction,
    project: Project,
    model: Model,
    name: str,
    configuration: dict[str, Any],
    description: str | None,
    region: str,
    now: float,
) -> PackagingJob:
    """Raises ConflictError if the project has a job of that name."""
    if tx.one("SELECT 1 FROM packaging_jobs WHERE project_id = ? AND name = ?", [project.id, name]):
        raise ConflictError(
            f"project {project.name} has a packaging job named {name} already",
            name,
            "MODEL_PACKAGE_JOB",
        )
    tx.execute(
        "INSERT INTO packaging_jobs (project_id, name, version, configuration, description,"
        " status, message, created_at, updated_at, region)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            project.id,
            name,
            model.version,
            orjson.dumps(configuration).decode(),
            description,
            PackagingStatus.CREATED,
            "The job is waiting.",
            now,
            now,
            region,
        ],
    )
    return get(tx, project, name)


def get(tx: Transaction, project: Project, name: str) -> PackagingJob:
    """Raises NotFoundError."""
    row = tx.one(
        "SELECT * FROM packaging_jobs WHERE project_id = ? AND name = ?", [project.id, name]
    )
    if row is None:
        raise NotFoundError(
            f"project {project.name} has no packaging job named {name}", name, "MODEL_PACKAGE_JOB"
        )
    return _job(row)


def page(tx: Transaction, project: Project, after: int, size: int) -> list[PackagingJob]:
    rows = tx.all(
        "SELECT * FROM packaging_jobs WHERE project_id = ? AND id > ? ORDER BY id LIMIT ?",
        [project.id, after, size],
    )
    return [_job(row) for row in rows]


def unfinished(tx: Transaction) -> list[PackagingJob]:
    rows = tx.all(
        "SELECT * FROM packaging_jobs WHERE status IN (?, ?) ORDER BY id",
        [PackagingStatus.CREATED, PackagingStatus.RUNNING],
    )
    return [_job(row) for row in rows]


def packs(tx: Transaction, model: Model) -> bool:
    """Whether a job is at work on this model."""
    return any(
        job.project_id == model.project_id and job.version == model.version
        for job in unfinished(tx)
    )


def set_status(
    tx: Transaction, job_id: int, status: PackagingStatus, message: str, now: float
) -> None:
    tx.execute(
        "UPDATE packaging_jobs SET status = ?, message = ?, updated_at = ? WHERE id = ?",
        [status, message, now, job_id],
    )


def component_is_taken(tx: Transaction, name: str, version: str) -> bool:
    """Whether a job that has not failed made, or makes, this version of the component."""
    rows = tx.all(
        "SELECT configuration FROM packaging_jobs WHERE status <> ?", [PackagingStatus.FAILED]
    )
    for row in rows:
        component = orjson.loads(row["configuration"])["Greengrass"]
        if (component["ComponentName"], component["ComponentVersion"]) == (name, version):
            return True
    return False


def _job(row: Row) -> PackagingJob:
    values = dict(zip(row.keys(), row, strict=True))
    values["configuration"] = orjson.loads(values["configuration"])
    values["status"] = PackagingStatus(values["status"])
    return PackagingJob(**values)
