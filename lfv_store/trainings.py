"""Trainings: the data, person and figures behind a model version."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from lfv_store.audit.change import Change, commit
from lfv_store.database import Database
from lfv_store.models import require_model
from lfv_store.records import NewTraining, Training
from lfv_store.rows import record_from
from lfv_store.tables import TrainingTable
from lfv_store.text import clean, clean_or_none


class Trainings:
    """`store.trainings`."""

    def __init__(self, database: Database, actor: str) -> None:
        self._database = database
        self._actor = actor

    def record(self, new: NewTraining) -> int:
        """Record a training and return its id. Raises UnknownModel."""

        def work(unit: Change) -> int:
            require_model(unit.conn, new.model_id)
            return unit.insert(
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
        table = TrainingTable.__table__
        statement = (
            sa.select(table, table.c.id.label("training_id"))
            .where(table.c.model_id == model_id)
            .order_by(table.c.id.desc())
        )
        with self._database.read() as conn:
            return [record_from(Training, row) for row in conn.execute(statement).mappings()]
