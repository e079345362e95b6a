"""Projects."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import RowMapping, delete, func, insert, select, update

from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.state import tables

_PROJECTS = tables.projects.c


@dataclass(frozen=True)
class Project:
    id: int
    name: str
    arn: str
    created_at: float


def create(tx: Transaction, name: str, arn: str, now: float) -> Project:
    """Create a project. Raises ConflictError if the name is taken."""
    if tx.one(select(_PROJECTS.id).where(_PROJECTS.name == name)):
        raise ConflictError(f"a project named {name} already exists", name, "PROJECT")
    ids = tables.project_ids
    number = int(tx.scalar(insert(ids).returning(ids.c.id)))
    tx.execute(delete(ids).where(ids.c.id < number))
    tx.execute(insert(tables.projects).values(id=number, name=name, arn=arn, created_at=now))
    return Project(number, name, arn, now)


def get(tx: Transaction, name: str) -> Project:
    """Return a project. Raises NotFoundError."""
    row = tx.one(select(tables.projects).where(_PROJECTS.name == name))
    if row is None:
        raise NotFoundError(f"there is no project named {name}", name, "PROJECT")
    return _project(row)


def page(tx: Transaction, after: int, size: int) -> list[Project]:
    """Return up to `size` projects, in the order of their creation."""
    query = select(tables.projects).where(_PROJECTS.id > after)
    return [_project(row) for row in tx.all(query.order_by(_PROJECTS.id).limit(size))]


def count(tx: Transaction) -> int:
    return int(tx.scalar(select(func.count()).select_from(tables.projects)))


def next_version(tx: Transaction, project: Project) -> int:
    """Reserve and return a model version that no model of this project ever had."""
    return int(
        tx.scalar(
            update(tables.projects)
            .where(_PROJECTS.id == project.id)
            .values(last_version=_PROJECTS.last_version + 1)
            .returning(_PROJECTS.last_version)
        )
    )


def remove(tx: Transaction, project: Project) -> None:
    """Delete a project. Raises ConflictError while it has datasets or models."""
    for table in (tables.models, tables.datasets):
        if tx.one(select(table.c.project_id).where(table.c.project_id == project.id).limit(1)):
            raise ConflictError(
                f"project {project.name} still has {table.name}; delete them first",
                project.name,
                "PROJECT",
            )
    tx.execute(delete(tables.projects).where(_PROJECTS.id == project.id))


def _project(row: RowMapping) -> Project:
    return Project(row["id"], row["name"], row["arn"], row["created_at"])
