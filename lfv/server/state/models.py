"""Models, their states and their tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lfv.formats.status import ModelStatus
from lfv.server.database import Row, Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.state.projects import Project
from lfv.server.states import MODEL_TRANSITIONS, ModelEvent

LATEST = "latest"


@dataclass(frozen=True)
class Model:
    id: str
    project_id: int
    project_name: str
    version: int
    arn: str
    description: str | None
    kms_key_id: str | None
    created_at: float
    status: ModelStatus
    message: str
    output_bucket: str
    output_prefix: str | None
    training_starts: int
    f1: float | None
    precision: float | None
    recall: float | None
    evaluated_at: float | None
    evaluation_manifest_key: str | None
    evaluation_result_key: str | None
    min_units: int | None
    max_units: int | None
    archive_sha256: str | None
    """Digest of the archive that it was imported from."""

    @property
    def name(self) -> str:
        return f"{self.project_name}/{self.version}"


@dataclass(frozen=True)
class NewModel:
    id: str
    version: int
    arn: str
    description: str | None
    kms_key_id: str | None
    output_bucket: str
    output_prefix: str | None
    status: ModelStatus = ModelStatus.TRAINING
    message: str = "The model is waiting to be trained."
    archive_sha256: str | None = None


@dataclass(frozen=True)
class Evaluation:
    f1: float | None
    precision: float | None
    recall: float | None
    """None where a figure is undefined, as recall is where nothing was to be found."""
    evaluated_at: float
    manifest_key: str | None
    result_key: str | None


_SELECT = "SELECT m.*, p.name AS project_name FROM models m JOIN projects p ON p.id = project_id"


def create(tx: Transaction, project: Project, new: NewModel, now: float) -> Model:
    tx.execute(
        "INSERT INTO models (id, project_id, version, arn, description, kms_key_id, created_at,"
        " status, message, output_bucket, output_prefix, archive_sha256)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            new.id,
            project.id,
            new.version,
            new.arn,
            new.description,
            new.kms_key_id,
            now,
            new.status,
            new.message,
            new.output_bucket,
            new.output_prefix,
            new.archive_sha256,
        ],
    )
    return by_id(tx, new.id)


def get(tx: Transaction, project: Project, version: str) -> Model:
    """``latest`` is the highest version there is. Raises NotFoundError."""
    if version == LATEST:
        row = tx.one(f"{_SELECT} WHERE project_id = ? ORDER BY version DESC LIMIT 1", [project.id])
    else:
        where = f"{_SELECT} WHERE project_id = ? AND version = ?"
        row = tx.one(where, [project.id, int(version)])
    if row is None:
        raise NotFoundError(
            f"project {project.name} has no model version {version}",
            f"{project.name}/{version}",
            "MODEL",
        )
    return _model(row)


def by_id(tx: Transaction, model_id: str) -> Model:
    """Raises NotFoundError for a model deleted meanwhile."""
    row = tx.one(f"{_SELECT} WHERE m.id = ?", [model_id])
    if row is None:
        raise NotFoundError("the model was deleted", model_id, "MODEL")
    return _model(row)


def by_arn(tx: Transaction, arn: str) -> Model:
    """Raises NotFoundError."""
    row = tx.one(f"{_SELECT} WHERE m.arn = ?", [arn])
    if row is None:
        raise NotFoundError("there is no model with this ARN", arn[:1011], "MODEL")
    return _model(row)


@dataclass(frozen=True)
class Imported:
    name: str
    """The model's, as ``PROJECT/VERSION``."""
    is_there: bool
    """False if the model was deleted since."""


def imported(tx: Transaction, sha256: str) -> Imported | None:
    """What became of the archive with this digest, if it was ever imported."""
    row = tx.one(
        "SELECT model_name, m.status FROM imported_archives LEFT JOIN models m ON m.id = model_id"
        " WHERE sha256 = ?",
        [sha256],
    )
    if row is None:
        return None
    is_there = row["status"] not in (None, ModelStatus.DELETING)
    return Imported(row["model_name"], is_there)


def note_import(tx: Transaction, sha256: str, model: Model) -> None:
    tx.execute(
        "INSERT INTO imported_archives (sha256, model_id, model_name) VALUES (?, ?, ?)",
        [sha256, model.id, model.name],
    )


def page(tx: Transaction, project: Project, after: int, size: int) -> list[Model]:
    rows = tx.all(
        f"{_SELECT} WHERE project_id = ? AND version > ? ORDER BY version LIMIT ?",
        [project.id, after, size],
    )
    return [_model(row) for row in rows]


def every(tx: Transaction) -> list[Model]:
    return [_model(row) for row in tx.all(f"{_SELECT} ORDER BY m.created_at")]


def count(tx: Transaction, project: Project) -> int:
    return int(tx.scalar("SELECT count(*) FROM models WHERE project_id = ?", [project.id]))


def count_training(tx: Transaction) -> int:
    query = "SELECT count(*) FROM models WHERE status = ?"
    return int(tx.scalar(query, [ModelStatus.TRAINING]))


def units_in_use(tx: Transaction) -> int:
    up = [status for status in ModelStatus if status.is_up]
    marks = ", ".join("?" * len(up))
    return int(
        tx.scalar(
            "SELECT coalesce(sum(coalesce(max_units, min_units)), 0) FROM models"  # noqa: S608
            f" WHERE status IN ({marks})",
            up,
        )
    )


def move(tx: Transaction, model: Model, event: ModelEvent, message: str) -> Model:
    """Let something happen to a model. Raises ConflictError where its state doesn't allow it."""
    status = MODEL_TRANSITIONS.get((model.status, event))
    if status is None:
        raise ConflictError(
            f"model {model.name} is {model.status}, which does not allow: {event}",
            model.name,
            "MODEL",
        )
    update = "UPDATE models SET status = ?, message = ? WHERE id = ?"
    tx.execute(update, [status, message, model.id])
    return by_id(tx, model.id)


def set_units(tx: Transaction, model: Model, low: int | None, high: int | None) -> None:
    tx.execute("UPDATE models SET min_units = ?, max_units = ? WHERE id = ?", [low, high, model.id])


def set_evaluation(tx: Transaction, model: Model, evaluation: Evaluation) -> None:
    tx.execute(
        "UPDATE models SET f1 = ?, precision = ?, recall = ?, evaluated_at = ?,"
        " evaluation_manifest_key = ?, evaluation_result_key = ? WHERE id = ?",
        [
            evaluation.f1,
            evaluation.precision,
            evaluation.recall,
            evaluation.evaluated_at,
            evaluation.manifest_key,
            evaluation.result_key,
            model.id,
        ],
    )


def count_training_start(tx: Transaction, model_id: str) -> int:
    """How often this model's training has begun, this time included."""
    return int(
        tx.scalar(
            "UPDATE models SET training_starts = training_starts + 1 WHERE id = ?"
            " RETURNING training_starts",
            [model_id],
        )
        or 0
    )


def remove(tx: Transaction, model_id: str) -> None:
    tx.execute("DELETE FROM models WHERE id = ?", [model_id])


def tags(tx: Transaction, model: Model) -> dict[str, str]:
    rows = tx.all("SELECT key, value FROM tags WHERE model_id = ? ORDER BY key", [model.id])
    return {row["key"]: row["value"] for row in rows}


def put_tags(tx: Transaction, model: Model, new: Mapping[str, str]) -> None:
    tx.execute_many(
        "INSERT INTO tags (model_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value",
        ((model.id, key, value) for key, value in new.items()),
    )


def remove_tags(tx: Transaction, model: Model, keys: Iterable[str]) -> None:
    tx.execute_many(
        "DELETE FROM tags WHERE model_id = ? AND key = ?", ((model.id, key) for key in keys)
    )


def _model(row: Row) -> Model:
    values = dict(zip(row.keys(), row, strict=True))
    values["status"] = ModelStatus(values["status"])
    return Model(**values)
