"""Projects."""

from __future__ import annotations

from dataclasses import dataclass

from lfv.server.database import Row, Transaction
from lfv.server.errors import ConflictError, NotFoundError


@dataclass(frozen=True)
class Project:
    id: int
    name: str
    arn: str
    created_at: float


def create(tx: Transaction, name: str, arn: str, now: float) -> Project:
    """Raises ConflictError if the name is taken."""
    if tx.one("SELECT 1 FROM projects WHERE name = ?", [name]):
        raise ConflictError(f"a project named {name} exists already", name, "PROJECT")
    number = int(tx.scalar("INSERT INTO project_ids DEFAULT VALUES RETURNING id"))
    tx.execute("DELETE FROM project_ids WHERE id < ?", [number])
    tx.execute(
        "INSERT INTO projects (id, name, arn, created_at) VALUES (?, ?, ?, ?)",
        [number, name, arn, now],
    )
    return Project(number, name, arn, now)


def get(tx: Transaction, name: str) -> Project:
    """Raises NotFoundError."""
    row = tx.one("SELECT * FROM projects WHERE name = ?", [name])
    if row is None:
        raise NotFoundError(f"there is no project named {name}", name, "PROJECT")
    return _project(row)


def page(tx: Transaction, after: int, size: int) -> list[Project]:
    """In the order of their creation."""
    rows = tx.all("SELECT * FROM projects WHERE id > ? ORDER BY id LIMIT ?", [after, size])
    return [_project(row) for row in rows]


def count(tx: Transaction) -> int:
    return int(tx.scalar("SELECT count(*) FROM projects"))


def next_version(tx: Transaction, project: Project) -> int:
    """A model version that no model of this project ever had."""
    return int(
        tx.scalar(
            "UPDATE projects SET last_version = last_version + 1 WHERE id = ?"
            " RETURNING last_version",
            [project.id],
        )
    )


def delete(tx: Transaction, project: Project) -> None:
    """Raises ConflictError while it has datasets or models."""
    for table, word in (("models", "models"), ("datasets", "datasets")):
        if tx.one(f"SELECT 1 FROM {table} WHERE project_id = ?", [project.id]):  # noqa: S608
            raise ConflictError(
                f"project {project.name} still has {word}; delete them first",
                project.name,
                "PROJECT",
            )
    tx.execute("DELETE FROM projects WHERE id = ?", [project.id])


def _project(row: Row) -> Project:
    return Project(row["id"], row["name"], row["arn"], row["created_at"])
