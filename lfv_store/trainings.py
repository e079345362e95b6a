"""Trainings: the data, person and figures behind a model version."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean, clean_or_none
from lfv_store.models import require_model
from lfv_store.records.models import NewTraining, Training
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.tables import TrainingTable


class Trainings(Repository):
    """`store.trainings`."""

    def record(self, new: NewTraining) -> int:
        """Record a training and return its id. Raises UnknownModel."""

        def work(change: Change) -> int:
            require_model(change.conn, new.model_id)
            return change.insert(
                "trainings",
                model_id=new.model_id,
                source=clean(new.source),
                test_source=clean_or_none(new.test_source),
                manifest_sha256=new.manifest_sha256,
                test_manifest_sha256=new.test_manifest_sha256,
                images=new.images,
                figures=new.figures,
                remarks=list(new.remarks),
                trained_by=clean(new.trained_by or self._actor),
                trained_at=new.trained_at,
                code_version=clean(new.code_version),
            )

        return commit(self._database, self._actor, "model.trained", str(new.model_id), work)

    def of_model(self, model_id: int) -> Sequence[Training]:
        """Return a model's trainings, the newest first; none if it was trained elsewhere."""
        return self._select(TrainingTable.model_id == model_id)

    def last(self, model_ids: Collection[int]) -> dict[int, Training]:
        """Return the last training of each of these models that has one, by model id."""
        newest = (
            sa.select(sa.func.max(TrainingTable.id))
            .where(TrainingTable.model_id.in_(model_ids))
            .group_by(TrainingTable.model_id)
        )
        return {one.model_id: one for one in self._select(TrainingTable.id.in_(newest))}

    def _select(self, condition: sa.ColumnElement[bool]) -> Sequence[Training]:
        table = TrainingTable.__table__
        statement = sa.select(table, table.c.id.label("training_id")).where(condition)
        with self._database.read() as conn:
            rows = conn.execute(statement.order_by(table.c.id.desc())).mappings()
            return [record_from(Training, row) for row in rows]
