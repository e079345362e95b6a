"""Models, their states and their tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import RowMapping, Select, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lfv.formats.host_kinds import LATEST
from lfv.formats.status import ModelStatus
from lfv.server.database import Transaction
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.lifecycle import MODEL_TRANSITIONS, ModelEvent
from lfv.server.state import tables
from lfv.server.state.projects import Project


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
    #: Digest of the archive that it was imported from.
    archive_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Model(NewModel):
    project_id: int
    project_name: str
    created_at: float
    training_starts: int
    f1: float | None
    precision: float | None
    recall: float | None
    evaluated_at: float | None
    evaluation_manifest_key: str | None
    evaluation_result_key: str | None
    min_units: int | None
    max_units: int | None
    #: Sentences about the training's data and result, such as that it had few images.
    training_remarks: str | None

    @property
    def name(self) -> str:
        return f"{self.project_name}/{self.version}"


@dataclass(frozen=True)
class Evaluation:
    f1: float | None
    precision: float | None
    #: A figure is None if it is undefined, as recall is without anomalous images.
    recall: float | None
    evaluated_at: float
    manifest_key: str | None
    result_key: str | None


_MODELS = tables.models.c


def create(tx: Transaction, project: Project, new: NewModel, now: float) -> Model:
    tx.execute(insert(tables.models).values(project_id=project.id, created_at=now, **asdict(new)))
    return by_id(tx, new.id)


def get(tx: Transaction, project: Project, version: str) -> Model:
    """Return a model; ``latest`` is its highest version. Raises NotFoundError."""
    query = _select().where(_MODELS.project_id == project.id)
    if version == LATEST:
        query = query.order_by(_MODELS.version.desc()).limit(1)
    else:
        query = query.where(_MODELS.version == int(version))
    row = tx.one(query)
    if row is None:
        raise NotFoundError(
            f"project {project.name} has no model version {version}",
            f"{project.name}/{version}",
            "MODEL",
        )
    return _model(row)


def by_id(tx: Transaction, model_id: str) -> Model:
    """Return a model. Raises NotFoundError if it was deleted meanwhile."""
    row = tx.one(_select().where(_MODELS.id == model_id))
    if row is None:
        raise NotFoundError("the model was deleted", model_id, "MODEL")
    return _model(row)


def by_arn(tx: Transaction, arn: str) -> Model:
    """Return the model with an ARN. Raises NotFoundError."""
    row = tx.one(_select().where(_MODELS.arn == arn))
    if row is None:
        raise NotFoundError("there is no model with this ARN", arn[:1011], "MODEL")
    return _model(row)


def imported(tx: Transaction, sha256: str) -> tuple[str, bool] | None:
    """Return ``PROJECT/VERSION`` of the archive with this digest, and whether it still exists.

    None if the archive was not imported.
    """
    archives = tables.imported_archives
    row = tx.one(
        select(archives.c.model_name, _MODELS.status)
        .select_from(archives)
        .outerjoin(tables.models, _MODELS.id == archives.c.model_id)
        .where(archives.c.sha256 == sha256)
    )
    if row is None:
        return None
    exists = row["status"] not in (None, ModelStatus.DELETING)
    return row["model_name"], exists


def record_import(tx: Transaction, sha256: str, model: Model) -> None:
    tx.execute(
        insert(tables.imported_archives).values(
            sha256=sha256, model_id=model.id, model_name=model.name
        )
    )


def page(tx: Transaction, project: Project, after: int, size: int) -> list[Model]:
    query = _select().where(_MODELS.project_id == project.id, _MODELS.version > after)
    return [_model(row) for row in tx.all(query.order_by(_MODELS.version).limit(size))]


def find(tx: Transaction, project_id: int, version: int) -> Model | None:
    """Return a version of a project's model, or None."""
    row = tx.one(_select().where(_MODELS.project_id == project_id, _MODELS.version == version))
    return None if row is None else _model(row)


def every(tx: Transaction) -> list[Model]:
    return [_model(row) for row in tx.all(_select().order_by(_MODELS.created_at))]


def count(tx: Transaction, project: Project) -> int:
    return int(tx.scalar(select(func.count()).where(_MODELS.project_id == project.id)))


def count_training(tx: Transaction) -> int:
    return int(tx.scalar(select(func.count()).where(_MODELS.status == ModelStatus.TRAINING)))


def units_in_use(tx: Transaction) -> int:
    up = [status for status in ModelStatus if status.is_up]
    units = func.sum(func.coalesce(_MODELS.max_units, _MODELS.min_units))
    return int(tx.scalar(select(func.coalesce(units, 0)).where(_MODELS.status.in_(up))))


def move(tx: Transaction, model: Model, event: ModelEvent, message: str) -> Model:
    """Apply an event to a model. Raises ConflictError if the model's status does not allow it."""
    status = MODEL_TRANSITIONS.get((model.status, event))
    if status is None:
        raise ConflictError(
            f"model {model.name} is {model.status}, which does not allow: {event}",
            model.name,
            "MODEL",
        )
    _update(tx, model.id, status=status, message=message)
    return by_id(tx, model.id)


def set_units(tx: Transaction, model: Model, low: int | None, high: int | None) -> None:
    _update(tx, model.id, min_units=low, max_units=high)


def set_evaluation(tx: Transaction, model: Model, evaluation: Evaluation) -> None:
    _update(
        tx,
        model.id,
        f1=evaluation.f1,
        precision=evaluation.precision,
        recall=evaluation.recall,
        evaluated_at=evaluation.evaluated_at,
        evaluation_manifest_key=evaluation.manifest_key,
        evaluation_result_key=evaluation.result_key,
    )


def set_training_remarks(tx: Transaction, model: Model, remarks: str) -> None:
    _update(tx, model.id, training_remarks=remarks or None)


def count_training_start(tx: Transaction, model_id: str) -> int:
    """Count a start of a model's training. Return the number of starts."""
    return int(
        tx.scalar(
            update(tables.models)
            .where(_MODELS.id == model_id)
            .values(training_starts=_MODELS.training_starts + 1)
            .returning(_MODELS.training_starts)
        )
        or 0
    )


def remove(tx: Transaction, model_id: str) -> None:
    tx.execute(delete(tables.models).where(_MODELS.id == model_id))


def tags(tx: Transaction, model: Model) -> dict[str, str]:
    found = tables.tags.c
    query = select(found.key, found.value).where(found.model_id == model.id).order_by(found.key)
    return {row["key"]: row["value"] for row in tx.all(query)}


def put_tags(tx: Transaction, model: Model, new: Mapping[str, str]) -> None:
    statement = upsert(tables.tags)
    statement = statement.on_conflict_do_update(
        index_elements=[tables.tags.c.model_id, tables.tags.c.key],
        set_={"value": statement.excluded.value},
    )
    rows = [{"model_id": model.id, "key": key, "value": value} for key, value in new.items()]
    if rows:
        tx.execute(statement, rows)


def remove_tags(tx: Transaction, model: Model, keys: Iterable[str]) -> None:
    found = tables.tags.c
    tx.execute(delete(tables.tags).where(found.model_id == model.id, found.key.in_(tuple(keys))))


def _select() -> Select[Any]:
    projects = tables.projects
    return select(tables.models, projects.c.name.label("project_name")).join(projects)


def _update(tx: Transaction, model_id: str, **values: object) -> None:
    tx.execute(update(tables.models).where(_MODELS.id == model_id).values(**values))


def _model(row: RowMapping) -> Model:
    values = dict(row)
    values["status"] = ModelStatus(row["status"])
    return Model(**values)
