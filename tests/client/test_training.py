"""Trainings at the API, against a scripted service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from lfv.client.errors import (
    HostAccessDenied,
    ModelNotFound,
    TrainingDataInvalid,
    TrainingFailed,
    TrainingTimedOut,
)
from lfv.client.sources import SourceReader
from tests.support.lots import (
    FakeService,
    image,
    refusal,
    row,
    train,
    write,
)
from tests.support.waiting import PLENTY


def test_a_first_training(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    told: list[str] = []
    trained = train(service, lot, reader, progress=told.append, description="first")
    assert (trained.project, trained.version, trained.model_arn) == ("cookies", "1", "arn:model")
    assert (trained.f1, trained.precision, trained.recall) == (0.9, 0.8, 1.0)
    assert trained.evaluation_result == "s3://parts/out/EvaluationResult.json"
    assert trained.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert trained.train.images == 4
    assert trained.test is None
    assert service.names() == ["create_project", "create_dataset", "create_model"]
    given = dict(service.calls)
    assert given["create_dataset"]["DatasetSource"] == {
        "GroundTruthManifest": {"S3Object": {"Bucket": "parts", "Key": trained.train.manifest.key}}
    }
    assert given["create_model"]["OutputConfig"] == {
        "S3Location": {"Bucket": "parts", "Prefix": "training/cookies/output/"}
    }
    assert given["create_model"]["Description"] == "first"
    tokens = [call["ClientToken"] for name, call in service.calls if "ClientToken" in call]
    assert len(set(tokens)) == 3
    assert told[-2:] == ["version 1: TRAINING", "version 1: TRAINED"]


def test_remarks_of_training_are_not_repeated_in_its_progress(
    lot: Path, reader: SourceReader
) -> None:
    service = FakeService()
    service.remarks = "Training completed. The border predicts as well as the whole."
    told: list[str] = []
    trained = train(service, lot, reader, progress=told.append)
    assert trained.message == service.remarks
    assert told[-1] == "version 1: TRAINED"


def test_training_again_replaces_the_datasets(lot: Path, reader: SourceReader) -> None:
    service = FakeService(project=True, datasets=("train", "test"))
    service.models = 1
    trained = train(service, lot, reader, test=str(lot / "train.manifest"))
    assert trained.version == "2"
    assert trained.test == trained.train
    assert service.names() == [
        "delete_dataset",
        "create_dataset",
        "delete_dataset",
        "create_dataset",
        "create_model",
    ]


def test_an_old_test_dataset_is_removed_if_no_new_one_is_given(
    lot: Path, reader: SourceReader
) -> None:
    service = FakeService(project=True, datasets=("test",))
    train(service, lot, reader)
    assert set(service.datasets) == {"train"}


def test_a_failed_old_dataset_is_replaced(lot: Path, reader: SourceReader) -> None:
    service = FakeService(project=True, datasets=("train",))
    service.datasets["train"] = "CREATE_FAILED"
    assert train(service, lot, reader).version == "1"


def test_bad_data_creates_nothing(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    write(lot, row("none.png"))
    with pytest.raises(TrainingDataInvalid):
        train(service, lot, reader)
    assert service.calls == []


def test_test_images_of_other_dimensions(lot: Path, reader: SourceReader) -> None:
    (lot / "wide.png").write_bytes(image(0, (80, 64)))
    test_source = write(lot, row("wide.png"), name="test.manifest")
    with pytest.raises(TrainingDataInvalid, match=r"64x64 .* 80x64"):
        train(FakeService(), lot, reader, test=test_source)


def test_a_dataset_that_fails(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.dataset_ends = "CREATE_FAILED"
    with pytest.raises(TrainingFailed, match=r"train dataset .* the manifest is wrong"):
        train(service, lot, reader)


def test_a_training_that_fails(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.model_ends = "TRAINING_FAILED"
    with pytest.raises(
        TrainingFailed, match=r"^Training cookies version 1 failed: too few images\.$"
    ):
        train(service, lot, reader)


def test_calls_whose_answers_were_lost_are_sent_again_with_the_same_token(
    lot: Path, reader: SourceReader
) -> None:
    service = FakeService()
    lost = ReadTimeoutError(endpoint_url="http://fake")
    service.failures = {"create_model": [lost], "describe_model": [lost, lost]}
    train(service, lot, reader)
    tokens = [call["ClientToken"] for name, call in service.calls if name == "create_model"]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1


def test_a_project_that_somebody_else_creates(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.failures = {"create_project": [refusal("CreateProject", 409, "ConflictException")]}

    def quicker() -> None:
        service.project = True

    service.on_call["create_project"] = quicker
    assert train(service, lot, reader).version == "1"
    assert service.names() == ["create_project", "create_dataset", "create_model"]


def test_refusals_are_passed_on(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.failures = {"create_dataset": [refusal("CreateDataset", 403, "AccessDeniedException")]}
    with pytest.raises(HostAccessDenied):
        train(service, lot, reader)
    service = FakeService(project=True)
    service.failures = {"create_model": [refusal("CreateModel", 404, "ResourceNotFoundException")]}
    with pytest.raises(ModelNotFound):
        train(service, lot, reader)


def test_a_training_that_takes_too_long_continues(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.polls = 10_000
    with pytest.raises(TrainingTimedOut, match="the service continues"):
        train(service, lot, reader, timeout=PLENTY)
