"""From labelled data to the manifest and the copies that a training reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lfv.client.errors import (
    TrainingDataInvalid,
)
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData, StagedDataset, stage_dataset, stage_training
from lfv.client.training import train_model
from lfv.formats.errors import SourceForbidden, SourceUnavailable
from lfv.formats.folder_layout import why_no_part
from lfv.formats.labels import LabelNames
from lfv.formats.manifest.records import ManifestItem
from tests.support.fake_model import FakeClock
from tests.support.lots import (
    RED,
    STAGING,
    WHITE,
    FakeService,
    image,
    mask,
    row,
    write,
)


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


def test_files_already_in_the_bucket_are_not_copied(reader: SourceReader, bucket: Path) -> None:
    (bucket / "there").mkdir()
    (bucket / "there" / "0.png").write_bytes(image())
    (bucket / "m.manifest").write_text(json.dumps(row("there/0.png")))
    staged = stage_dataset("s3://parts/m.manifest", reader, STAGING)
    (item,) = list(read_manifest(str(staged.manifest), reader))
    assert isinstance(item, ManifestItem)
    assert item.source_ref == "s3://parts/there/0.png"


def test_names_of_subfolders_are_labels(tmp_path: Path, reader: SourceReader) -> None:
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
def test_a_background_is_added_if_there_is_room(
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
        f"8 lines of {source} cannot be used for training: line 2: 1.png is labelled"
    )
    assert "line 4 (and 1 line like it): " in message
    assert message.endswith("and 2 more")


def folders(root: Path, counts: dict[str, int]) -> str:
    """Class folders with this many different images each."""
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


def test_test_images_without_a_label_are_counted(tmp_path: Path, reader: SourceReader) -> None:
    """As the private ones of MVTec AD 2."""
    source = folders(
        tmp_path / "set",
        {"train/good": 2, "test_public/good": 1, "test_public/bad": 1, "test_private": 2},
    )
    staged, test = stage_training(source, reader, STAGING)
    assert test is not None
    assert (staged.images, test.images) == (2, 2)
    assert staged.skipped == {"test images without a label": 2}


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
def test_masks_without_a_colour_map_are_merged_into_one_white_on_black(
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
    for line in rows[:2]:
        key = line["anomaly-mask-ref"].removeprefix("s3://parts/")
        with Image.open(bucket / key) as mask:
            assert {shade for _, shade in mask.getcolors()} == {0, 255}
            shown.append(mask.getbbox())
    assert shown == [(0, 0, 15, 5), (20, 0, 25, 5)]


def test_anomaly_types_only_in_tests_are_reported(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"train/good": 3, "test/good": 1, "test/dent": 2})
    trained = train_model(
        FakeService(), reader, STAGING, LabelledData(source), "cookies", clock=FakeClock()
    )
    assert trained.test is not None
    assert (trained.train.anomalous, trained.test.anomalous) == (0, 2)
    assert "Every anomalous image (2 in all) is a test" in trained.message


def test_an_unknown_label_is_named_with_a_remedy(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"glatt": 1, "Kratzer 2": 1})
    with pytest.raises(TrainingDataInvalid) as caught:
        stage_training(source, reader, STAGING)
    assert "'glatt'" in str(caught.value)
    assert "--normal 'Kratzer 2' or --anomaly 'Kratzer 2'" in str(caught.value)
    names = LabelNames.of(("glatt",), ("Kratzer 2",))
    staged, _ = stage_training(source, reader, STAGING, names=names)
    assert (staged.normal, staged.anomalous) == (1, 1)


def test_a_misspelt_folder_gets_a_suggestion(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"nromal": 2, "anomaly": 2, "brass": 1})
    with pytest.raises(TrainingDataInvalid) as caught:
        stage_training(source, reader, STAGING)
    message = str(caught.value)
    assert "(and 1 line like it)" in message
    assert (
        "did you mean normal/? Otherwise declare it with --normal nromal or --anomaly nromal"
    ) in message
    assert message.count("did you mean") == 1
    names = LabelNames.of(normal=["Charge"])
    assert names.close_to("Chrage") == "charge"
    assert names.close_to("on") is None


def test_skipped_files_are_reported(tmp_path: Path, reader: SourceReader) -> None:
    source = folders(tmp_path / "set", {"good": 2, "bad": 1})
    (tmp_path / "set/good/7.png.part").write_bytes(image(7))
    told: list[str] = []
    staged, _ = stage_training(source, reader, STAGING, progress=told.append)
    assert staged.skipped == {"unfinished or temporary files": 1}
    assert "Skipped files: 1 (unfinished or temporary files: 1)." in told


@pytest.mark.parametrize("marker", ["lot/", "lot/good/", "lot/good_$folder$"])
def test_folder_keys_of_the_console_are_not_images(marker: str) -> None:
    assert why_no_part(marker.removeprefix("lot/")) == "folder markers"


@pytest.mark.parametrize(
    ("project", "description"), [("two words", ""), ("p" * 256, ""), ("p", "ü"), ("p", "x" * 501)]
)
def test_names_that_the_api_refuses_are_refused_before_staging(
    lot: Path, reader: SourceReader, bucket: Path, project: str, description: str
) -> None:
    before = sorted(bucket.rglob("*"))
    with pytest.raises(TrainingDataInvalid, match="is not allowed"):
        train_model(
            None,
            reader,
            STAGING,
            LabelledData(str(lot / "train.manifest")),
            project,
            description=description,
        )
    assert sorted(bucket.rglob("*")) == before


def test_an_empty_manifest_trains_nothing(lot: Path, reader: SourceReader) -> None:
    with pytest.raises(TrainingDataInvalid, match="lists no images"):
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
