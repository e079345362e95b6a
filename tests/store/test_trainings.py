"""From a verdict to its model's training data."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from lfv_store import InvalidRecord, NewTraining, Store, UnknownModel
from tests.support.store_samples import T0, a_model, a_run, judged


def test_a_training_is_found_from_a_verdict(store: Store) -> None:
    model_id = a_model(store)
    training_id = store.trainings.record(
        NewTraining(
            model_id,
            "images/train",
            T0,
            "ana",
            manifest_sha256="ab" * 32,
            images={"train": {"normal": 20}},
            figures={"recall": 0.9, "precision": None},
            remarks=("few images",),
        )
    )
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 1)])
    row = store.results.line(run_id, 1)
    (training,) = store.trainings.of_model(row["model_id"])
    assert training.training_id == training_id
    assert (training.source, training.manifest_sha256) == ("images/train", "ab" * 32)
    assert training.figures == {"recall": 0.9, "precision": None}
    assert training.remarks == ["few images"]
    assert (training.trained_by, training.trained_at) == ("ana", T0)
    with store.database.read() as conn:
        view = conn.exec_driver_sql("SELECT project_name, trained_by FROM model_trainings").one()
    assert tuple(view) == ("bottles", "ana")
    assert store.audit.verify().ok


def test_the_last_trainings_of_many_models_are_read_together(store: Store) -> None:
    first, second, third = (a_model(store, version) for version in "123")
    for model_id, source in ((first, "a"), (second, "b"), (first, "c")):
        store.trainings.record(NewTraining(model_id, source, T0))
    found = store.trainings.last([first, second, third])
    assert {model_id: one.source for model_id, one in found.items()} == {first: "c", second: "b"}
    assert found[first] == store.trainings.of_model(first)[0]
    assert store.trainings.last([]) == {}


def test_a_recorded_training_cannot_be_changed(store: Store) -> None:
    model_id = a_model(store)
    store.trainings.record(NewTraining(model_id, "images", T0))
    with pytest.raises(InvalidRecord, match="append-only"), store.database.write() as conn:
        conn.execute(sa.text("UPDATE trainings SET trained_by = 'somebody else'"))


def test_a_training_needs_a_model(store: Store) -> None:
    with pytest.raises(UnknownModel):
        store.trainings.record(NewTraining(7, "images", T0))
