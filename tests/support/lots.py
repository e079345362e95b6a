"""Small labelled data sets, and a scripted service for trainings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError
from PIL import Image

from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData, Staging
from lfv.client.training import TrainedModel, train_model
from tests.support.fake_model import FakeClock

STAGING = Staging("parts", "training/cookies/")


WHITE, RED = "#FFFFFF", "#FF0000"


def image(colour: int = 0, size: tuple[int, int] = (64, 64), format_: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(out, format_)
    return out.getvalue()


def row(ref: str, label: str | None = "normal", **more: Any) -> dict[str, Any]:
    line: dict[str, Any] = {"source-ref": ref}
    if label is not None:
        line["anomaly-label"] = 0
        line["anomaly-label-metadata"] = {
            "class-name": label,
            "type": "groundtruth/image-classification",
        }
    return line | more


def mask(ref: str, colors: dict[str, str]) -> dict[str, Any]:
    entries = {
        str(number): {"class-name": name, "hex-color": color}
        for number, (color, name) in enumerate(colors.items())
    }
    metadata = {"internal-color-map": entries, "type": "groundtruth/semantic-segmentation"}
    return {"m-ref": ref, "m-ref-metadata": metadata}


def write(folder: Path, *rows: dict[str, Any], name: str = "train.manifest") -> str:
    (folder / name).write_text("\n".join(json.dumps(each) for each in rows))
    return str(folder / name)


def refusal(operation: str, status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        operation,
    )


class FakeService:
    """The operations that a training needs, with datasets and models that take their time."""

    def __init__(self, *, project: bool = False, datasets: tuple[str, ...] = ()) -> None:
        self.meta = SimpleNamespace(endpoint_url="http://fake")
        self.project = project
        self.datasets = dict.fromkeys(datasets, "CREATE_COMPLETE")
        self.models = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failures: dict[str, list[Exception]] = {}
        self.on_call: dict[str, Callable[[], None]] = {}
        self.dataset_ends = "CREATE_COMPLETE"
        self.model_ends = "TRAINED"
        self.remarks = ""
        self.polls = 2
        self._left = 0

    def names(self) -> list[str]:
        return [name for name, _ in self.calls if not name.startswith("describe")]

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> dict[str, Any]:
            self.calls.append((name, arguments))
            self.on_call.get(name, lambda: None)()
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            return getattr(self, f"_{name}")(**arguments)  # type: ignore[no-any-return]

        return call

    def _describe_project(self, **_: Any) -> Any:
        if not self.project:
            raise refusal("DescribeProject", 404, "ResourceNotFoundException")
        found = [{"DatasetType": kind, "Status": state} for kind, state in self.datasets.items()]
        return {"ProjectDescription": {"Datasets": found}}

    def _create_project(self, **_: Any) -> Any:
        self.project = True
        return {"ProjectMetadata": {}}

    def _create_dataset(self, DatasetType: str, **_: Any) -> Any:  # noqa: N803
        assert DatasetType not in self.datasets, "the old dataset is still there"
        self.datasets[DatasetType] = "CREATE_IN_PROGRESS"
        self._left = self.polls
        return {"DatasetMetadata": {}}

    def _delete_dataset(self, DatasetType: str, **_: Any) -> Any:  # noqa: N803
        self.datasets[DatasetType] = "DELETE_IN_PROGRESS"
        self._left = self.polls
        return {}

    def _describe_dataset(self, DatasetType: str, **_: Any) -> Any:  # noqa: N803
        self._left -= 1
        if self._left <= 0 and self.datasets.get(DatasetType, "").endswith("IN_PROGRESS"):
            if self.datasets[DatasetType].startswith("DELETE"):
                del self.datasets[DatasetType]
            else:
                self.datasets[DatasetType] = self.dataset_ends
        if DatasetType not in self.datasets:
            raise refusal("DescribeDataset", 404, "ResourceNotFoundException")
        return {
            "DatasetDescription": {
                "Status": self.datasets[DatasetType],
                "StatusMessage": "the manifest is wrong.",
            }
        }

    def _create_model(self, **_: Any) -> Any:
        self.models += 1
        self._left = self.polls
        return {"ModelMetadata": {"ModelVersion": str(self.models), "Status": "TRAINING"}}

    def _describe_model(self, ModelVersion: str, **_: Any) -> Any:  # noqa: N803
        self._left -= 1
        status = "TRAINING" if self._left > 0 else self.model_ends
        return {
            "ModelDescription": {
                "ModelVersion": ModelVersion,
                "ModelArn": "arn:model",
                "Status": status,
                "StatusMessage": "Training failed: too few images."
                if status == "TRAINING_FAILED"
                else self.remarks,
                "CreationTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
                "Performance": {"F1Score": 0.9, "Precision": 0.8, "Recall": 1.0},
                "EvaluationResult": {"Bucket": "parts", "Key": "out/EvaluationResult.json"},
                "EvaluationManifest": {"Bucket": "parts", "Key": "out/EvaluationManifest.json"},
            }
        }


def train(
    service: FakeService,
    lot: Path,
    reader: SourceReader,
    *,
    test: str | None = None,
    **more: Any,
) -> TrainedModel:
    data = LabelledData(str(lot / "train.manifest"), test)
    return train_model(service, reader, STAGING, data, "cookies", **({"clock": FakeClock()} | more))
