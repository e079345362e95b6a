"""Model packaging jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import RowMapping, insert, select, update

from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.lifecycle import PackagingStatus
from lfv.server.state import tables
from lfv.server.state.models import Model
from lfv.server.state.projects import Project

_JOBS = tables.packaging_jobs.c


@dataclass(frozen=True)
class PackagingJob:
    id: int
    project_id: int
    name: str
    version: int
    #: As in the request, with the component's version filled in.
    configuration: dict[str, Any]
    description: str | None
    status: PackagingStatus
    message: str
    created_at: float
    updated_at: float
    #: Region of the request; None for a job of a release that did not store it.
    region: str | None


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
    """Create a job. Raises ConflictError if the project has one of this name."""
    if tx.one(select(_JOBS.id).where(_JOBS.project_id == project.id, _JOBS.name == name)):
        raise ConflictError(
            f"project {project.name} already has a packaging job named {name}",
            name,
            "MODEL_PACKAGE_JOB",
        )
    tx.execute(
        insert(tables.packaging_jobs).values(
            project_id=project.id,
            name=name,
            version=model.version,
            configuration=orjson.dumps(configuration).decode(),
            description=description,
            status=PackagingStatus.CREATED,
            message="The job is waiting.",
            created_at=now,
            updated_at=now,
            region=region,
        )
    )
    return get(tx, project, name)


def get(tx: Transaction, project: Project, name: str) -> PackagingJob:
    """Return a job. Raises NotFoundError."""
    query = select(tables.packaging_jobs).where(_JOBS.project_id == project.id, _JOBS.name == name)
    row = tx.one(query)
    if row is None:
        raise NotFoundError(
            f"project {project.name} has no packaging job named {name}", name, "MODEL_PACKAGE_JOB"
        )
    return _job(row)


def page(tx: Transaction, project: Project, after: int, size: int) -> list[PackagingJob]:
    query = select(tables.packaging_jobs).where(_JOBS.project_id == project.id, _JOBS.id > after)
    return [_job(row) for row in tx.all(query.order_by(_JOBS.id).limit(size))]


def unfinished(tx: Transaction) -> list[PackagingJob]:
    query = select(tables.packaging_jobs).where(
        _JOBS.status.in_((PackagingStatus.CREATED, PackagingStatus.RUNNING))
    )
    return [_job(row) for row in tx.all(query.order_by(_JOBS.id))]


def packs(tx: Transaction, model: Model) -> bool:
    """Whether an unfinished job packages this model."""
    return any(
        job.project_id == model.project_id and job.version == model.version
        for job in unfinished(tx)
    )


def set_status(
    tx: Transaction, job_id: int, status: PackagingStatus, message: str, now: float
) -> None:
    tx.execute(
        update(tables.packaging_jobs)
        .where(_JOBS.id == job_id)
        .values(status=status, message=message, updated_at=now)
    )


def component_is_taken(tx: Transaction, name: str, version: str) -> bool:
    """Whether a job that has not failed created, or will create, this component's version."""
    query = select(_JOBS.configuration).where(_JOBS.status != PackagingStatus.FAILED)
    for row in tx.all(query):
        component = orjson.loads(row["configuration"])["Greengrass"]
        if (component["ComponentName"], component["ComponentVersion"]) == (name, version):
            return True
    return False


def _job(row: RowMapping) -> PackagingJob:
    values = dict(row)
    values["configuration"] = orjson.loads(row["configuration"])
    values["status"] = PackagingStatus(row["status"])
    return PackagingJob(**values)
