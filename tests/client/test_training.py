"""Staging by content, and a training from the first call to the last."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from PIL import Image

from lfv.client.errors import (
    HostAccessDenied,
    ModelNotFound,
    TrainingDataInvalid,
    TrainingFailed,
    TrainingInterrupted,
    TrainingTimedOut,
)
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.staging import StagedDataset, Staging, stage_dataset, stage_training
from lfv.client.training import TrainedModel, train_model
from lfv.formats.errors import SourceForbidden, SourceUnavailable
from lfv.formats.labels import LabelNames
from lfv.formats.layout import why_no_part
from lfv.formats.manifest.records import ManifestItem
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


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    """Three good images, one of them twice, and a mask."""
    folder = tmp_path / "lot"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(image(number))
    (folder / "again.png").write_bytes(image(0))
    (folder / "mask.png").write_bytes(image(255, (16, 16)))
    write(
        folder,
        row("0.png"),
        row("1.png", "anomaly", **mask("mask.png", {RED: "crack"})),
        row("2.png", "anomaly"),
        row("again.png"),
    )
    return folder


def write(folder: Path, *rows: dict[str, Any], name: str = "train.manifest") -> str:
    (folder / name).write_text("\n".join(json.dumps(each) for each in rows))
    return str(folder / name)


# -- staging --------------------------------------------------------------------------------------


def test_staging(lot: Path, reader: SourceReader, bucket: Path) -> None:
    told: list[str] = []
    source = str(lot / "train.manifest")
    staged = stage_dataset(source, reader, STAGING, progress=told.append)
    assert staged == StagedDataset(
        manifest=staged.manifest,
        images=4,
        normal=2,
        anomalous=2,
        masks=1,
        anomaly_types=("crack",),
        width=64,
        height=64,
    )
    assert told == ["4 images checked and staged"]
    assert str(staged.manifest).startswith("s3://parts/training/cookies/manifests/")
    records = list(read_manifest(str(staged.manifest), reader))
    items = [record for record in records if isinstance(record, ManifestItem)]
    assert [item.is_anomalous for item in items] == [False, True, True, False]
    assert items[0].source_ref == items[3].source_ref
    assert items[1].mask_colors == {WHITE: "BACKGROUND", RED: "crack"}
    assert items[1].mask_ref is not None
    assert reader.read_bytes(items[1].mask_ref) == (lot / "mask.png").read_bytes()
    for item, name in zip(items, ("0.png", "1.png", "2.png", "0.png"), strict=True):
        assert reader.read_bytes(item.source_ref) == (lot / name).read_bytes()
    # Linked, not copied, where the file system can.
    linked = bucket / items[2].source_ref.removeprefix("s3://parts/")
    assert linked.stat().st_ino == (lot / "2.png").stat().st_ino


def test_staging_again_writes_nothing(
    lot: Path, reader: SourceReader, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage_dataset(str(lot / "train.manifest"), reader, STAGING)
    files = {path: path.stat().st_mtime_ns for path in bucket.rglob("*.png")}
    put: list[str] = []
    monkeypatch.setattr(
        "lfv.client.stores.BucketFolder.put", lambda _self, key, _content: put.append(key)
    )
    assert stage_dataset(str(lot / "train.manifest"), reader, STAGING) == first
    assert put == [first.manifest.key]
    assert {path: path.stat().st_mtime_ns for path in bucket.rglob("*.png")} == files


def test_what_is_in_the_bucket_already_stays_where_it_is(
    reader: SourceReader, bucket: Path
) -> None:
    (bucket / "there").mkdir()
    (bucket / "there" / "0.png").write_bytes(image())
    (bucket / "m.manifest").write_text(json.dumps(row("there/0.png")))
    staged = stage_dataset("s3://parts/m.manifest", reader, STAGING)
    (item,) = list(read_manifest(str(staged.manifest), reader))
    assert isinstance(item, ManifestItem)
    assert item.source_ref == "s3://parts/there/0.png"


def test_a_folder_labels_by_its_folders(tmp_path: Path, reader: SourceReader) -> None:
    for name in ("normal/a.png", "anomaly/b.png"):
        (tmp_path / "lot" / name).parent.mkdir(parents=True)
        (tmp_path / "lot" / name).write_bytes(image())
    staged = stage_dataset(str(tmp_path / "lot"), reader, STAGING)
    assert (staged.normal, staged.anomalous) == (1, 1)


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        ({RED: "crack"}, {WHITE: "BACKGROUND", RED: "crack"}),
        ({"#000000": "background", RED: "crack"}, {"#000000": "BACKGROUND", RED: "crack"}),
        ({RED: "crack", WHITE: "scratch"}, {RED: "crack", WHITE: "scratch"}),
    ],
)
def test_a_background_is_added_where_there_is_room(
    lot: Path, reader: SourceReader, colors: dict[str, str], expected: dict[str, str]
) -> None:
    source = write(lot, row("1.png", "anomaly", **mask("mask.png", colors)))
    staged = stage_dataset(source, reader, STAGING)
    (item,) = list(read_manifest(str(staged.manifest), reader))
    assert isinstance(item, ManifestItem)
    assert item.mask_colors == expected


def test_every_row_that_cannot_be_trained_on_is_named(lot: Path, reader: SourceReader) -> None:
    (lot / "wide.png").write_bytes(image(0, (80, 64)))
    (lot / "cut.png").write_bytes(image()[:-20])
    (lot / "photo.jpg").write_bytes(image(0, (16, 16), "JPEG"))
    source = write(
        lot,
        row("0.png"),
        row("1.png", None),
        row("2.png", "unsure"),
        row("none.png"),
        row("cut.png"),
        row("wide.png"),
        {"no": "source"},
        row("1.png", "anomaly", **mask("photo.jpg", {RED: "crack"})),
        row("1.png", "anomaly", **mask("none.png", {RED: "crack"})),
        row("2.png"),
    )
    with pytest.raises(TrainingDataInvalid) as caught:
        stage_dataset(source, reader, STAGING)
    told = {problem.line_number: problem.code for problem in caught.value.problems}
    assert told == {
        2: "label_missing",
        3: "label_missing",
        4: "source_not_found",
        5: "image_truncated",
        6: "image_dimensions_mismatch",
        7: "source_ref_missing",
        8: "image_format_unsupported",
        9: "source_not_found",
    }
    message = str(caught.value)
    assert message.startswith(
        f"8 lines of {source} cannot be trained on: line 2: 1.png is labelled"
    )
    assert message.endswith("and 3 more")


def folders(root: Path, counts: dict[str, int]) -> str:
    """Class folders with so many images each, all different."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for _ in range(count):
            (root / name / f"{number}.png").write_bytes(image(number))
            number += 1
    return str(root)


def test_a_split_into_folders_is_kept(tmp_path: Path, reader: SourceReader) -> None:
    counts = {"train/good": 3, "train/bad": 2, "test/good": 4, "test/bad": 1}
    source = folders(tmp_path / "set", counts)
    train, test = stage_training(source, reader, STAGING)
    assert (train.normal, train.anomalous) == (3, 2)
    assert test is not None
    assert (test.normal, test.anomalous) == (4, 1)
    everything, none = stage_training(f"{source}/train", reader, STAGING)
    assert (everything.normal, everything.anomalous, none) == (3, 2, None)
    assert stage_dataset(source, reader, STAGING) == test


@pytest.mark.parametrize(
    ("splits", "trained", "tested"),
    [
        (["train", "test"], 1, 1),
        (["train", "val"], 1, 1),
        (["Training", "validation", "testing"], 2, 1),
        (["train", "train"], 2, 0),
        (["first", "second"], 2, 0),
    ],
)
@pytest.mark.parametrize("column", ["split", "Subset", "usage"])
def test_a_split_in_a_column_is_kept(
    lot: Path, reader: SourceReader, column: str, splits: list[str], trained: int, tested: int
) -> None:
    rows = [row(f"{number}.png", **{column: split}) for number, split in enumerate(splits)]
    train, test = stage_training(write(lot, *rows), reader, STAGING)
    assert (train.images, test.images if test else 0) == (trained, tested)


@pytest.mark.parametrize(
    ("column", "first", "second"),
    [("is_train", True, False), ("Is Test", 0, 1), ("for-training", "yes", "No")],
)
def test_a_split_by_a_flag_is_kept(
    lot: Path, reader: SourceReader, column: str, first: object, second: object
) -> None:
    rows = [row("0.png", **{column: first}), row("1.png", **{column: second})]
    train, test = stage_training(write(lot, *rows), reader, STAGING)
    assert test is not None
    for dataset, name in ((train, "0.png"), (test, "1.png")):
        with reader.open(dataset.manifest) as opened:
            assert name in opened.stream.read().decode()


def test_test_images_alone_are_not_trained_on(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"test/good": 2, "test/bad": 2})
    with pytest.raises(TrainingDataInvalid, match="--test"):
        stage_training(source, reader, STAGING)


def test_masks_beside_a_test_folder_are_used(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"test/good": 2, "test/dent": 2})
    (tmp_path / "set/ground_truth/dent").mkdir(parents=True)
    for number in (2, 3):
        mask_of = tmp_path / f"set/ground_truth/dent/{number}_mask.png"
        Image.new("L", (64, 64), 255).save(mask_of)
    staged, _ = stage_training(f"{source}/test", reader, STAGING)
    assert (staged.normal, staged.anomalous, staged.masks) == (2, 2, 2)
    assert staged.anomaly_types == ("dent",)


@pytest.mark.parametrize("kind", ["BMP", "PNG"])
def test_masks_without_a_colour_map_become_one_white_on_black(
    tmp_path: Path, bucket: Path, kind: str
) -> None:
    """A folder of masks for an image (MVTec LOCO), class numbers (VisA), and not only PNG."""
    source = folders(tmp_path / "set", {"good": 2, "bad": 2})
    first, second = sorted((tmp_path / "set/bad").iterdir())
    ending = kind.lower()
    places = [f"{first.stem}/000.{ending}", f"{first.stem}/001.{ending}", f"{second.stem}.{ending}"]
    for at, (place, value) in enumerate(zip(places, (255, 250, 1), strict=True)):
        mask = Image.new("L", (64, 64))
        mask.paste(value, (10 * at, 0, 10 * at + 5, 5))
        path = tmp_path / "set/ground_truth/bad" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path, kind)
    if kind == "BMP":
        with pytest.raises(TrainingDataInvalid, match=r"The mask is a BMP.*--convert"):
            stage_dataset(source, SourceReader(buckets={"parts": bucket}), STAGING)
    reader = SourceReader(buckets={"parts": bucket}, convert=True)
    staged = stage_dataset(source, reader, STAGING)
    assert (staged.masks, staged.anomaly_types) == (2, ("defect",))
    rows = [json.loads(line) for line in (bucket / staged.manifest.key).read_text().splitlines()]
    shown = []
    for row in rows[:2]:
        key = row["anomaly-mask-ref"].removeprefix("s3://parts/")
        with Image.open(bucket / key) as mask:
            assert {shade for _, shade in mask.getcolors()} == {0, 255}
            shown.append(mask.getbbox())
    assert shown == [(0, 0, 15, 5), (20, 0, 25, 5)]


def test_anomalies_that_are_only_tested_with_are_pointed_out(
    tmp_path: Path, reader: SourceReader
) -> None:
    source = folders(tmp_path / "set", {"train/good": 3, "test/good": 1, "test/dent": 2})
    trained = train_model(FakeService(), reader, STAGING, source, "cookies", clock=FakeClock())
    assert trained.test is not None
    assert (trained.train.anomalous, trained.test.anomalous) == (0, 2)
    assert "All 2 anomalous images are tests" in trained.message


def test_an_unknown_label_is_named_with_the_way_out(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"glatt": 1, "Kratzer 2": 1})
    with pytest.raises(TrainingDataInvalid) as caught:
        stage_training(source, reader, STAGING)
    assert "'glatt'" in str(caught.value)
    assert "--normal 'Kratzer 2' or --anomaly 'Kratzer 2'" in str(caught.value)
    names = LabelNames.of(("glatt",), ("Kratzer 2",))
    staged, _ = stage_training(source, reader, STAGING, names=names)
    assert (staged.normal, staged.anomalous) == (1, 1)


def test_skipped_files_are_told(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"good": 2, "bad": 1})
    (tmp_path / "set/good/7.png.part").write_bytes(image(7))
    told: list[str] = []
    staged, _ = stage_training(source, reader, STAGING, progress=told.append)
    assert staged.skipped == {"unfinished or temporary files": 1}
    assert "Skipped files: 1 (unfinished or temporary files: 1)." in told


@pytest.mark.parametrize("marker", ["lot/", "lot/good/", "lot/good_$folder$"])
def test_folder_keys_of_the_console_are_no_images(marker: str) -> None:
    assert why_no_part(marker.removeprefix("lot/")) == "folder markers"


@pytest.mark.parametrize(
    ("project", "description"), [("two words", ""), ("p" * 256, ""), ("p", "ü"), ("p", "x" * 501)]
)
def test_names_that_the_api_refuses_are_refused_before_staging(
    lot: Path, reader: SourceReader, bucket: Path, project: str, description: str
) -> None:
    before = sorted(bucket.rglob("*"))
    with pytest.raises(TrainingDataInvalid, match="cannot be used"):
        train_model(
            None,
            reader,
            STAGING,
            str(lot / "train.manifest"),
            project,
            description=description,
        )
    assert sorted(bucket.rglob("*")) == before


def test_an_empty_manifest_trains_nothing(lot: Path, reader: SourceReader) -> None:
    with pytest.raises(TrainingDataInvalid, match="names no image"):
        stage_dataset(write(lot), reader, STAGING)


def test_a_bucket_that_cannot_be_written(
    lot: Path, reader: SourceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SourceUnavailable("The disk is full.")

    monkeypatch.setattr("lfv.client.stores.BucketFolder.put", refuse)
    with pytest.raises(SourceUnavailable):
        stage_dataset(str(lot / "train.manifest"), reader, STAGING)

    def forbid(*_: object) -> None:
        raise SourceForbidden("No.")

    monkeypatch.setattr("lfv.client.stores.BucketFolder.put", forbid)
    with pytest.raises(SourceForbidden):
        stage_dataset(str(lot / "train.manifest"), reader, STAGING)


# -- training -------------------------------------------------------------------------------------


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
                else "",
                "CreationTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
                "Performance": {"F1Score": 0.9, "Precision": 0.8, "Recall": 1.0},
                "EvaluationResult": {"Bucket": "parts", "Key": "out/EvaluationResult.json"},
                "EvaluationManifest": {"Bucket": "parts", "Key": "out/EvaluationManifest.json"},
            }
        }


def train(service: FakeService, lot: Path, reader: SourceReader, **more: Any) -> TrainedModel:
    source = str(lot / "train.manifest")
    return train_model(
        service, reader, STAGING, source, "cookies", **({"clock": FakeClock()} | more)
    )


def test_a_first_training(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    told: list[str] = []
    trained = train(service, lot, reader, progress=told.append, description="first")
    assert (trained.project, trained.version, trained.model_arn) == ("cookies", "1", "arn:model")
    assert (trained.f1, trained.precision, trained.recall) == (0.9, 0.8, 1.0)
    assert trained.evaluation_result == "s3://parts/out/EvaluationResult.json"
    assert trained.evaluation_manifest == "s3://parts/out/EvaluationManifest.json"
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


def test_training_again_replaces_the_datasets(lot: Path, reader: SourceReader) -> None:
    service = FakeService(project=True, datasets=("train", "test"))
    service.models = 1
    trained = train(service, lot, reader, test_source=str(lot / "train.manifest"))
    assert trained.version == "2"
    assert trained.test == trained.train
    assert service.names() == [
        "delete_dataset",
        "create_dataset",
        "delete_dataset",
        "create_dataset",
        "create_model",
    ]


def test_an_old_test_dataset_goes_when_there_is_no_new_one(lot: Path, reader: SourceReader) -> None:
    service = FakeService(project=True, datasets=("test",))
    train(service, lot, reader)
    assert set(service.datasets) == {"train"}


def test_an_old_dataset_that_failed_is_no_obstacle(lot: Path, reader: SourceReader) -> None:
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
        train(FakeService(), lot, reader, test_source=test_source)


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


def test_giving_up_and_being_interrupted(lot: Path, reader: SourceReader) -> None:
    service = FakeService()
    service.polls = 10_000
    with pytest.raises(TrainingTimedOut, match="goes on at the service"):
        train(service, lot, reader, timeout=60)
    clock = FakeClock()
    stop = threading.Event()
    clock.on_wait = lambda _: stop.set()
    with pytest.raises(TrainingInterrupted, match="goes on at the service"):
        train(FakeService(), lot, reader, clock=clock, stop_event=stop)
