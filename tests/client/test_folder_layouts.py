"""What the folders of a data set mean: labels, types, splits, masks, or no images."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.folder_layout import Skipped
from lfv.formats.labels import USUAL, LabelNames
from lfv.formats.manifest.groundtruth import INSPECTION
from tests.support.manifests import good


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # MVTec AD
            [
                "b/train/good/0.png",
                "b/test/good/0.png",
                "b/test/dent/0.png",
                "b/ground_truth/dent/0_mask.png",
            ],
            {
                "b/test/dent/0.png": (True, "dent", "test", "b/ground_truth/dent/0_mask.png"),
                "b/test/good/0.png": (False, None, "test", None),
                "b/train/good/0.png": (False, None, "train", None),
            },
        ),
        (  # MVTec LOCO: a folder of masks for each image
            ["train/good/0.png", "test/logical/0.png", "ground_truth/logical/0/000.png"],
            {
                "test/logical/0.png": (True, "logical", "test", "ground_truth/logical/0/000.png"),
                "train/good/0.png": (False, None, "train", None),
            },
        ),
        (  # VisA
            ["Data/Images/Normal/0.JPG", "Data/Images/Anomaly/0.JPG", "Data/Masks/Anomaly/0.png"],
            {
                "Data/Images/Anomaly/0.JPG": (True, None, None, "Data/Masks/Anomaly/0.png"),
                "Data/Images/Normal/0.JPG": (False, None, None, None),
            },
        ),
        (  # BeanTech
            ["train/ok/0.bmp", "test/ko/1.bmp", "test/ok/2.bmp", "ground_truth/ko/1.bmp"],
            {
                "test/ko/1.bmp": (True, None, "test", "ground_truth/ko/1.bmp"),
                "test/ok/2.bmp": (False, None, "test", None),
                "train/ok/0.bmp": (False, None, "train", None),
            },
        ),
        (["good/a.png", "bad/b.png"], {"bad/b.png": (True,), "good/a.png": (False,)}),
        (["OK/a.png", "Not OK/b.png"], {"Not OK/b.png": (True,), "OK/a.png": (False,)}),
        (["pass/a.png", "fail/b.png"], {"fail/b.png": (True,), "pass/a.png": (False,)}),
        (
            ["good_parts/a.png", "NG images/b.png"],
            {"NG images/b.png": (True,), "good_parts/a.png": (False,)},
        ),
        (["i.O/a.png", "n.i.O/b.png"], {"n.i.O/b.png": (True,), "i.O/a.png": (False,)}),
        (  # MVTec AD 2
            [
                "train/good/0.png",
                "test_public/bad/1.png",
                "test_public/ground_truth/bad/1_mask.png",
                "test_private/2.png",
            ],
            {
                "test_private/2.png": (None, None, "test"),
                "test_public/bad/1.png": (
                    True,
                    None,
                    "test",
                    "test_public/ground_truth/bad/1_mask.png",
                ),
                "train/good/0.png": (False, None, "train"),
            },
        ),
        (  # DAGM: only images with a defect have a mask
            ["Class1/Train/1.PNG", "Class1/Train/2.PNG", "Class1/Train/Label/2_label.PNG"],
            {
                "Class1/Train/1.PNG": (False, None, "train"),
                "Class1/Train/2.PNG": (True, "Class1", "train", "Class1/Train/Label/2_label.PNG"),
            },
        ),
        (  # one folder of masks for the anomalies
            ["abnormal/1.png", "mask/1.png", "normal/1.png"],
            {
                "abnormal/1.png": (True, None, None, "mask/1.png"),
                "normal/1.png": (False, None, None, None),
            },
        ),
        (
            ["train_good/a.png", "test_bad/b.png"],
            {"test_bad/b.png": (True, None, "test"), "train_good/a.png": (False, None, "train")},
        ),
        (["bad/scratch/b.png"], {"bad/scratch/b.png": (True, "scratch")}),
        (["bad/scratch/lot-7/b.png"], {"bad/scratch/lot-7/b.png": (True, "scratch")}),
        (["lot-1/a.png"], {"lot-1/a.png": (None,)}),
        (["labels/a.png"], {"labels/a.png": (None,)}),
    ],
)
def test_layouts_of_folders(
    tmp_path: Path, png: bytes, files: list[str], expected: dict[str, tuple[object, ...]]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png)
    reader = SourceReader(buckets={"parts": tmp_path})
    for source, base in ((str(tmp_path), f"{tmp_path}/"), ("s3://parts/", "s3://parts/")):
        found = {
            item.written_ref: (
                item.is_anomalous,
                item.attributes.get("anomaly-type"),
                item.attributes.get("split"),
                item.mask_ref and item.mask_ref.removeprefix(base),
            )
            for item in good(list(read_manifest(source, reader)))
        }
        assert {name: place[: len(expected[name])] for name, place in found.items()} == expected


@pytest.mark.parametrize(
    ("normal", "anomalous"),
    [
        ("OK", "NG"),
        ("ok", "nok"),
        ("01_good", "02_bad"),
        ("OK_2026-05", "NG_2026-05"),
        ("OK (1)", "NG (1)"),
        ("Gut", "Schlecht"),
        ("IO-Teile", "NIO-Teile"),
        ("Gutteile", "Ausschuss"),
        ("fehlerfrei", "fehlerhaft"),
        ("unbescha\u0308digt", "bescha\u0308digt"),  # as macOS writes an umlaut
        ("良品", "不良品"),
        ("正常", "異常"),
        ("合格", "不合格"),
        ("ＯＫ品", "ＮＧ品"),
        ("良品画像", "不良画像"),
        ("无缺陷", "缺陷"),
        ("양품", "불량품"),
        ("conforme", "défauts"),
        ("bueno", "malo"),
        ("buoni", "scarti"),
        ("without_defect", "with_defect"),
        ("undamaged", "damaged"),
    ],
)
def test_words_for_labels(normal: str, anomalous: str) -> None:
    assert (USUAL.of_folder(normal), USUAL.of_folder(anomalous)) == (False, True)


@pytest.mark.parametrize(
    "name", ["Bad Homburg", "lot 12", "pass 2", "IO 3", "0", "crack", "goodyear", "negative"]
)
def test_words_for_other_things(name: str) -> None:
    assert USUAL.of_folder(name) is None


def test_a_mask_of_another_format_shows_the_label(tmp_path: Path, jpeg: bytes) -> None:
    """As in KolektorSDD, whose masks are BMP; an unreadable one does not count as an anomaly."""
    for number, mask in enumerate((Image.new("L", (64, 64)), painted(255)), 1):
        (tmp_path / f"Part{number}.jpg").write_bytes(jpeg)
        mask.save(tmp_path / f"Part{number}_label.bmp")
    (tmp_path / "Part3.jpg").write_bytes(jpeg)
    (tmp_path / "Part3_label.bmp").write_bytes(b"BM and nothing else")
    found = good(list(read_manifest(str(tmp_path), SourceReader())))
    assert [item.is_anomalous for item in found] == [False, True, None]
    assert "Part3_label.bmp cannot be read" in found[2].attributes["label-problem"]


def test_masks_show_which_images_are_anomalous(tmp_path: Path, jpeg: bytes) -> None:
    """Sets whose only labels are masks: one beside each image, empty for a normal one."""
    files = {
        "train/1.png": jpeg,  # KolektorSDD2
        "train/1_GT.png": drawn(0),
        "train/2.png": jpeg,
        "train/2_GT.png": drawn(255),
        "test/1.png": jpeg,
        "test/1_GT.png": drawn(255),
        "Class1/Train/7.png": jpeg,  # DAGM
        "Class1/Train/Label/7_label.png": drawn(255),
        "MT_Free/Imgs/3.jpg": jpeg,  # Magnetic Tile
        "MT_Free/Imgs/3.png": drawn(0),
        "MT_Crack/Imgs/4.jpg": jpeg,
        "MT_Crack/Imgs/4.png": drawn(255),
        "NG/dent/S1/5.jpg": jpeg,  # Real-IAD
        "NG/dent/S1/5.png": drawn(255),
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    reader = SourceReader(buckets={"parts": tmp_path})
    for source in (str(tmp_path), "s3://parts/"):
        skipped = Skipped()
        found = {
            item.written_ref: (item.is_anomalous, item.mask_colors.get("#FFFFFF"))
            for item in good(list(read_manifest(source, reader, skipped=skipped)))
        }
        assert found == {
            "Class1/Train/7.png": (True, "Class1"),
            "MT_Crack/Imgs/4.jpg": (True, "defect"),
            "MT_Free/Imgs/3.jpg": (False, None),
            "NG/dent/S1/5.jpg": (True, "dent"),
            "test/1.png": (True, "defect"),
            "train/1.png": (False, None),
            "train/2.png": (True, "defect"),
        }
        assert skipped.reasons == {"masks": 7}


def test_a_png_beside_a_jpeg_may_be_a_photograph(tmp_path: Path, png: bytes, jpeg: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "a.png").write_bytes(png)
    assert len(good(list(read_manifest(str(tmp_path), SourceReader())))) == 2


def drawn(shade: int) -> bytes:
    """A mask with a patch of this shade, as a PNG."""
    out = io.BytesIO()
    painted(shade).save(out, "PNG")
    return out.getvalue()


def painted(shade: int) -> Image.Image:
    """A mask with a patch of this shade."""
    mask = Image.new("L", (64, 64))
    mask.paste(shade, (8, 8, 24, 24))
    return mask


def test_names_for_labels_can_be_given(tmp_path: Path, png: bytes) -> None:
    for name in ("gut/a.png", "Kratzer/b.png", "good/c.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png)
    profile = replace(INSPECTION, names=LabelNames.of(("gut",), ("kratzer", "good")))
    records = good(list(read_manifest(str(tmp_path), SourceReader(), profile=profile)))
    labels = {record.written_ref: record.is_anomalous for record in records}
    assert labels == {"Kratzer/b.png": True, "good/c.png": True, "gut/a.png": False}


@pytest.mark.parametrize("in_bucket", [False, True])
def test_files_that_are_not_parts_are_counted(tmp_path: Path, png: bytes, in_bucket: bool) -> None:
    names = ["lot/part.png", "lot/part.png.part", "lot/part.png.tmp", "lot/@eaDir/part.png"]
    names += ["lot/__MACOSX/._part.png", "lot/.part.png.swp", "lot/~$part.png", "lot/part.png~"]
    names += ["lot/part.png.!qB", "lot/part.tmp.png", "lot/@Recycle/p.png", "lot/Thumbs.db"]
    names += ["lot/ground_truth/dent/0_mask.png", "lot/notes.txt", "lot/_SUCCESS"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"text" if name.endswith("txt") else png)
    reader, skipped = SourceReader(buckets={"parts": tmp_path}), Skipped()
    source = "s3://parts/lot/" if in_bucket else str(tmp_path / "lot")
    (record,) = good(list(read_manifest(source, reader, skipped=skipped)))
    assert record.written_ref == "part.png"
    assert skipped.reasons.total() == len(names) - 1
    assert str(skipped).startswith("Skipped files: 14 (")
    assert {"masks without an image", "other files", "system files"} <= set(skipped.reasons)
