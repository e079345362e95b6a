"""From a verdict to its model's training data, whatever version name the run used."""

from __future__ import annotations

from pathlib import Path

from lfv.run.models.training_records import copy_training_record
from lfv_store import ModelKey, NewTraining, open_store
from tests.support.store_samples import T0

JOB = "flange-20260304050607"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"
OUTPUT = f"s3://bucket/models/{JOB}/output/model.tar.gz"


def test_a_model_gets_the_training_record_of_its_training_job(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        training = f"training-job/{JOB}"

        def register(version: str, place: str = ARN) -> tuple[int, ModelKey]:
            key = ModelKey("sagemaker", f"{place}:{version}", "flange", version, T0)
            return store.models.register(key), key

        trained, _ = register(training)
        data = NewTraining(
            trained,
            "s3://lots/train.manifest",
            T0,
            "ana",
            manifest_sha256="ab" * 32,
            remarks=("x",),
        )
        store.trainings.record(data)
        for version, place, expected in (
            (f"model-package/{JOB}", ARN, 1),
            ("model/mine", ARN, 1),
            ("model/theirs", ARN.replace("1234", "9999"), 0),  # of another account
        ):
            model_id, key = register(version, place)
            for _ in range(2):  # runs register it again and again
                copy_training_record(store, model_id, key, training)
            assert len(store.trainings.of_model(model_id)) == expected
        (found,) = store.trainings.of_model(register("model/mine")[0])
        assert (found.source, found.manifest_sha256) == (data.source, data.manifest_sha256)
        assert (found.trained_by, found.trained_at) == ("ana", T0)
        assert found.remarks == ["x", f"trained as {training}"]
