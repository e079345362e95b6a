"""Models: the registered model versions, on any host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from lfv_store.audit.change import Change, commit
from lfv_store.errors import UnknownModel
from lfv_store.records.models import Model, ModelKey, ModelPace
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.tables import ImageTable, InspectionTable, ModelPaceTable, ModelTable, RunTable

_SIZES_LOOKED_AT = 500
_MODELS = sa.select(ModelTable.__table__)


class Models(Repository):
    """`store.models`."""

    def register(self, key: ModelKey) -> int:
        """Return the id of a model version, registering it if new."""
        with self._database.read() as conn:
            known = _find(conn, key)
        if known is not None:
            return known

        def work(change: Change) -> int:
            change.lock_chain()
            known = _find(change.conn, key)
            if known is not None:
                return known
            return change.insert(
                "models",
                **asdict(key),
                facts={},
                registered_at=change.now,
            )

        return commit(self._database, self._actor, "model.registered", key.model_arn, work)

    def get(self, model_id: int) -> Model:
        """Return a model by its id. Raises UnknownModel."""
        with self._database.read() as conn:
            row = conn.execute(_MODELS.where(ModelTable.id == model_id)).mappings().one_or_none()
        if row is None:
            raise UnknownModel(f"no model has id {model_id}")
        return _model(row)

    def list(
        self, limit: int = 100, *, not_on: str = "", before: int | None = None
    ) -> Sequence[Model]:
        """Return models, the newest first, except those on the kind of host `not_on`.

        `before` is the id of a model that was registered after them.
        """
        chosen = _MODELS.where(ModelTable.host != not_on)
        if before is not None:
            chosen = chosen.where(ModelTable.id < before)
        with self._database.read() as conn:
            rows = conn.execute(chosen.order_by(ModelTable.id.desc()).limit(limit)).mappings()
            return [_model(row) for row in rows]

    def find(
        self, project_name: str, *, host: str | None = None, not_on: str = ""
    ) -> Sequence[Model]:
        """Return a project's versions, the most recently used first.

        Those on the kind of host `host` (None: on any), except those on `not_on`.
        """
        last_run = (
            sa.select(sa.func.max(RunTable.id))
            .where(RunTable.model_id == ModelTable.id)
            .scalar_subquery()
        )
        wanted = _MODELS.where(
            ModelTable.project_name == project_name, ModelTable.host != not_on
        ).order_by(sa.func.coalesce(last_run, 0).desc(), ModelTable.id.desc())
        if host is not None:
            wanted = wanted.where(ModelTable.host == host)
        with self._database.read() as conn:
            return [_model(row) for row in conn.execute(wanted).mappings()]

    def find_version(self, model_version: str, *, host: str) -> Sequence[Model]:
        """Return the models of any project with this version, the newest first."""
        wanted = _MODELS.where(ModelTable.model_version == model_version, ModelTable.host == host)
        with self._database.read() as conn:
            rows = conn.execute(wanted.order_by(ModelTable.id.desc())).mappings()
            return [_model(row) for row in rows]

    def image_size(self, model_id: int) -> tuple[int, int] | None:
        """Return (width, height) in pixels of the images that this model has answered.

        None before the first answer, or if sizes differ. A sample of a hundred answers is enough,
        because a model that needs one size has answered no other.
        """
        answered = (
            sa.select(ImageTable.width, ImageTable.height)
            .join(InspectionTable, InspectionTable.image_id == ImageTable.id)
            .join(RunTable, RunTable.id == InspectionTable.run_id)
            .where(RunTable.model_id == model_id, InspectionTable.detection_id.is_not(None))
            .limit(_SIZES_LOOKED_AT)
            .subquery()
        )
        with self._database.read() as conn:
            sizes = conn.execute(sa.select(answered).distinct().limit(2)).all()
        return (sizes[0].width, sizes[0].height) if len(sizes) == 1 else None

    def pace(self, model_id: int) -> ModelPace | None:
        """Return the capacity last found for the model; None before its first run."""
        table = ModelPaceTable.__table__
        found = sa.select(table).where(table.c.model_id == model_id)
        with self._database.read() as conn:
            row = conn.execute(found).mappings().one_or_none()
        return None if row is None else record_from(ModelPace, row)

    def set_pace(self, model_id: int, pace: ModelPace) -> None:
        """Replace the capacity found for the model."""

        def work(conn: Connection) -> None:
            conn.execute(sa.delete(ModelPaceTable).where(ModelPaceTable.model_id == model_id))
            conn.execute(sa.insert(ModelPaceTable).values(model_id=model_id, **asdict(pace)))

        self._database.transact(work)


def _find(conn: Connection, key: ModelKey) -> int | None:
    return conn.scalar(
        sa.select(ModelTable.id).where(
            ModelTable.host == key.host,
            ModelTable.model_arn == key.model_arn,
            ModelTable.project_name == key.project_name,
            ModelTable.model_version == key.model_version,
            ModelTable.created_at.is_not_distinct_from(key.created_at),
        )
    )


def require_model(conn: Connection, model_id: int) -> None:
    """Raise UnknownModel unless the model exists."""
    if conn.scalar(sa.select(ModelTable.id).where(ModelTable.id == model_id)) is None:
        raise UnknownModel(f"no model has id {model_id}")


def _model(row: RowMapping) -> Model:
    return Model(row["id"], record_from(ModelKey, row), row["facts"], row["registered_at"])
