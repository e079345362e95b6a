"""Annotations and models of other tools, imported for training."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lfv.client.imports import (
    ImportKind,
    convert_annotations,
    import_kind,
    read_model_archive,
)
from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.annotations import (
    AnnotatedImage,
    Area,
    draw_mask,
    parse_classes,
    parse_coco,
    parse_voc,
    parse_yolo,
)
from lfv.formats.errors import (
    AnnotationsInvalid,
    ManifestKindUnknown,
    ModelArchiveInvalid,
    SourceNotFound,
)
from lfv.formats.labels import LabelNames
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.masks import read_mask
from lfv.onnx_files import read_export_facts
from tests.support.pictures import make_pictures

READER = SourceReader()
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


def coco(**changes: Any) -> dict[str, Any]:
    """Three images: a scratch with an outline, a dent with a box, and one without annotations."""
    document = {
        "images": [
            {"id": number, "file_name": f"{number:05}.png", "width": 64, "height": 64}
            for number in range(3)
        ],
        "categories": [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [SQUARE]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 8, 4]},
        ],
    }
    return document | changes


@pytest.fixture
def coco_file(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "set" / "images", 3)
    file = tmp_path / "set" / "annotations" / "instances.json"
    file.parent.mkdir()
    file.write_text(json.dumps(coco(), indent=1))
    return file


def items(manifest: Path) -> list[ManifestItem]:
    found = list(read_manifest(str(manifest), READER))
    assert all(isinstance(item, ManifestItem) for item in found)
    return [item for item in found if isinstance(item, ManifestItem)]


def test_coco_becomes_a_manifest_with_drawn_masks(coco_file: Path, tmp_path: Path) -> None:
    assert import_kind(str(coco_file), READER) is ImportKind.COCO
    made = convert_annotations(str(coco_file), ImportKind.COCO, READER, tmp_path / "out")
    scratch, dent, clean = items(made)
    assert [item.is_anomalous for item in (scratch, dent, clean)] == [True, True, False]
    assert Path(scratch.source_ref) == coco_file.parents[1] / "images" / "00000.png"
    assert dent.mask_ref is None  # a box is not an outline
    assert clean.mask_ref is None
    assert scratch.mask_ref is not None
    mask = read_mask(Path(scratch.mask_ref).read_bytes(), scratch.mask_colors, ["scratch"])
    assert mask[15, 15] == 1
    assert mask[5, 5] == 0
    assert mask.sum() == pytest.approx(11 * 11, abs=22)


def test_boxes_are_drawn_on_request(coco_file: Path, tmp_path: Path) -> None:
    made = convert_annotations(
        str(coco_file), ImportKind.COCO, READER, tmp_path / "out", boxes=True
    )
    dent = items(made)[1]
    assert dent.mask_ref is not None
    assert read_mask(Path(dent.mask_ref).read_bytes(), dent.mask_colors, ["dent"]).sum() == 8 * 4


def test_run_lengths_are_by_column() -> None:
    area = np.zeros((4, 5), bool)
    area[1:3, 2] = True
    area[3, 4] = True
    image = AnnotatedImage("a", (5, 4), (Area("x", runs=(9, 2, 8, 1)),))
    drawn = np.asarray(Image.open(io.BytesIO(draw_mask(image, {"#000000": "x"}))))
    assert ((drawn == 0).all(axis=2) == area).all()


@pytest.mark.parametrize(
    ("packed", "runs"),
    [("928O", (9, 2, 8, 1)), ("0", (0,)), ("P1", (32,)), ("", ())],
)
def test_packed_run_lengths(packed: str, runs: tuple[int, ...]) -> None:
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "segmentation": {"counts": packed}}
    image, *_ = parse_coco(coco(annotations=[annotation]))
    assert image.areas[0].runs == runs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"id": 7, "image_id": 9, "category_id": 1}]}, "not listed in images"),
        ({"annotations": [{"id": 7, "image_id": 0, "category_id": 9}]}, "not declared"),
        ({"images": [{"id": 0}], "annotations": []}, "has no file_name"),
        ({"images": [1]}, "not a list of objects"),
        (
            {
                "annotations": [
                    {"id": 7, "image_id": 0, "category_id": 1, "segmentation": [[1, 2, 3, 4]]}
                ]
            },
            "three points",
        ),
        (
            {
                "annotations": [
                    {"id": 7, "image_id": 0, "category_id": 1, "segmentation": {"counts": "oo"}}
                ]
            },
            "truncated",
        ),
    ],
)
def test_damaged_coco_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnotationsInvalid, match=message):
        parse_coco(coco(**changes))


def test_a_category_that_means_normal_is_a_label() -> None:
    document = coco(categories=[{"id": 1, "name": "Good"}, {"id": 2, "name": "intact"}])
    first, second, _ = parse_coco(document, LabelNames.of(normal=["intact"]))
    assert first.areas == ()
    assert second.areas == ()


def test_run_lengths_of_another_image_are_not_drawn() -> None:
    image = AnnotatedImage("a", (5, 4), (Area("x", runs=(9, 2)),))
    with pytest.raises(AnnotationsInvalid, match="covers 11 pixels"):
        draw_mask(image, {"#000000": "x"})
    huge = AnnotatedImage("a", (10**6, 10**6), (Area("x", runs=(9, 2)),))
    with pytest.raises(AnnotationsInvalid, match="invalid size"):
        draw_mask(huge, {"#000000": "x"})


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "..\\secret.png"])
def test_an_annotation_cannot_name_files_outside(tmp_path: Path, name: str) -> None:
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(coco(images=[{"id": 0, "file_name": name}], annotations=[])))
    with pytest.raises(AnnotationsInvalid, match="outside the images"):
        convert_annotations(str(file), ImportKind.COCO, READER, tmp_path / "out")


def test_images_that_are_missing_need_their_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "coco.json"
    file.parent.mkdir()
    file.write_text(json.dumps(coco()))
    make_pictures(tmp_path / "elsewhere", 3)
    with pytest.raises(SourceNotFound, match="--images"):
        convert_annotations(str(file), ImportKind.COCO, READER, tmp_path / "out")
    made = convert_annotations(
        str(file), ImportKind.COCO, READER, tmp_path / "out", images=str(tmp_path / "elsewhere")
    )
    assert len(items(made)) == 3


VOC = """<annotation><filename>{name}</filename>
<size><width>64</width><height>64</height><depth>3</depth></size>{objects}</annotation>"""
BOX = """<object><name>{name}</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object>"""


def test_voc_becomes_a_manifest(tmp_path: Path) -> None:
    root = tmp_path / "voc"
    make_pictures(root / "JPEGImages", 3)
    (root / "Annotations").mkdir()
    for number, kind in enumerate(("scratch", "good", "")):
        objects = BOX.format(name=kind) if kind else ""
        text = VOC.format(name=f"{number:05}.png", objects=objects)
        (root / "Annotations" / f"{number:05}.xml").write_text(text)
    assert import_kind(str(root), READER) is ImportKind.VOC
    made = convert_annotations(str(root), ImportKind.VOC, READER, tmp_path / "out", boxes=True)
    scratch, good, empty = items(made)
    assert (scratch.is_anomalous, good.is_anomalous, empty.is_anomalous) == (True, False, False)
    assert scratch.mask_ref is not None
    mask = read_mask(Path(scratch.mask_ref).read_bytes(), scratch.mask_colors, ["scratch"])
    assert mask[:4, :8].all()
    assert mask.sum() == 8 * 4


def voc_folder(root: Path, *images: str) -> Path:
    """Annotations that name these images, all with a scratch; the folder has three images."""
    make_pictures(root / "JPEGImages", 3)
    (root / "Annotations").mkdir()
    for number, name in enumerate(images):
        text = VOC.format(name=name, objects=BOX.format(name="scratch"))
        (root / "Annotations" / f"{number:05}.xml").write_text(text)
    return root


def test_images_without_a_voc_file_are_kept_without_a_label(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", "00000.png")
    (root / "JPEGImages" / "Thumbs.db").touch()
    made = convert_annotations(str(root), ImportKind.VOC, READER, tmp_path / "out")
    assert [item.is_anomalous for item in items(made)] == [True, None, None]


def test_an_image_with_two_voc_files_is_named(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", "00001.png", "00001.png")
    with pytest.raises(AnnotationsInvalid, match=r"00001.png is annotated twice"):
        convert_annotations(str(root), ImportKind.VOC, READER, tmp_path / "out")


def test_the_image_of_an_area_that_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", "00000.png")
    file = root / "Annotations" / "00000.xml"
    file.write_text(file.read_text().replace(">8<", ">NaN<"))
    with pytest.raises(AnnotationsInvalid, match=r"00000.png: .* finite"):
        convert_annotations(str(root), ImportKind.VOC, READER, tmp_path / "out", boxes=True)


@pytest.mark.parametrize("images", ["train/images/{0}", "images/train/{0}"])
def test_yolo_becomes_a_manifest(tmp_path: Path, images: str) -> None:
    """In the folders of Roboflow and of Ultralytics."""
    root = tmp_path / "yolo"
    folder = (root / images.format("x")).parent
    make_pictures(folder, 4)
    labels = Path(str(folder).replace("images", "labels"))
    labels.mkdir(parents=True)
    for number, text in enumerate(("0 0.25 0.125 0.5 0.25\n", "1 0 0 0.5 0 0.5 0.5 0 0.5\n", "")):
        (labels / f"{number:05}.txt").write_text(text)
    (root / "data.yaml").write_text("names: [scratch, dent]\nnc: 2\n")
    assert import_kind(str(root), READER) is ImportKind.YOLO
    made = convert_annotations(str(root), ImportKind.YOLO, READER, tmp_path / "out", boxes=True)
    boxed, outlined, empty, without = items(made)
    labels_found = [item.is_anomalous for item in (boxed, outlined, empty, without)]
    assert labels_found == [True, True, False, False]
    assert {item.attributes["split"] for item in items(made)} == {"train"}
    for item, name, area in ((boxed, "scratch", 32 * 16), (outlined, "dent", 33 * 33)):
        assert item.mask_ref is not None
        mask = read_mask(Path(item.mask_ref).read_bytes(), item.mask_colors, [name])
        assert mask.sum() == area


def yolo_folder(root: Path, *labels: str) -> Path:
    """Two images, and a label file with a scratch for each of the names."""
    make_pictures(root / "images", 2)
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("names: [scratch]\n")
    for name in labels:
        (root / "labels" / name).write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.5 0.5\r\n")
    return root


def test_yolo_of_windows(tmp_path: Path) -> None:
    """With a byte order mark, Windows newlines, and the list that LabelImg writes."""
    root = yolo_folder(tmp_path, "00000.txt", "classes.txt")
    made = convert_annotations(str(root), ImportKind.YOLO, READER, tmp_path / "out")
    assert [item.is_anomalous for item in items(made)] == [True, False]


def test_yolo_labels_without_an_image_are_named(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path, "00000.txt", "00009.txt")
    with pytest.raises(AnnotationsInvalid, match=r"labels/00009.txt has no image"):
        convert_annotations(str(root), ImportKind.YOLO, READER, tmp_path / "out")


@pytest.mark.parametrize("ending", [".bmp", ".Png"])
def test_yolo_images_of_any_format_are_kept(tmp_path: Path, ending: str) -> None:
    root = yolo_folder(tmp_path, "00000.txt")
    with Image.open(root / "images" / "00000.png") as image:
        image.save(root / "images" / f"00000{ending}")
    (root / "images" / "00000.png").unlink()
    made = convert_annotations(str(root), ImportKind.YOLO, READER, tmp_path / "out")
    assert [Path(item.source_ref).suffix for item in items(made)] == [ending, ".png"]


def test_a_class_that_data_yaml_does_not_name() -> None:
    with pytest.raises(AnnotationsInvalid, match="Line 1 has class 7, which"):
        parse_yolo("a.png", (64, 64), "7 0.5 0.5 0.1 0.1", {0: "scratch"})
    (area,) = parse_yolo("a.png", (64, 64), "7 0.5 0.5 0.1 0.1", {}).areas
    assert area.anomaly_type == "class 7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scratch 0 0 1 1", "Line 1 is not a class"),
        ("0 0.5 0.5 0.1 0.1\n0 12 30 4 4", "Line 2 has coordinates"),
        ("0 0.5 0.5", "neither a box nor a polygon"),
        ("0 0 0 0.5 0 0.5 0.5 0", "neither a box nor a polygon"),
    ],
)
def test_damaged_yolo_is_named(text: str, message: str) -> None:
    with pytest.raises(AnnotationsInvalid, match=message):
        parse_yolo("a.png", (64, 64), text, {})


@pytest.mark.parametrize("text", ["", "train: images", "names: 7", "names: {x: y}"])
def test_classes_that_are_not_listed(text: str) -> None:
    with pytest.raises(AnnotationsInvalid, match="names of the classes"):
        parse_classes(text.encode())


@pytest.mark.parametrize("data", [b"names: [a", "names: [Stoß]".encode("latin-1")])
def test_classes_that_are_not_yaml(data: bytes) -> None:
    with pytest.raises(AnnotationsInvalid, match="not valid YAML"):
        parse_classes(data)


def test_classes_that_expand_to_gigabytes_are_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(AnnotationsInvalid, match="not text"):
        parse_classes(f"l0: &l0 [x]\n{levels}names: [*l11]\n".encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<annotation>", "not valid XML"),
        (b"<other/>", "not <annotation>"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "document type"),
        ("<!DOCTYPE a><annotation/>".encode("utf-16"), "not UTF-8"),
        (VOC.format(name="a", objects=BOX.replace(">8<", ">x<")).encode(), "four numbers"),
    ],
)
def test_damaged_voc_is_named(data: bytes, message: str) -> None:
    with pytest.raises(AnnotationsInvalid, match=message):
        parse_voc(data)


# -- models ---------------------------------------------------------------------------------------

GRAPH = {
    "model_graph": {
        "stages": [
            {"type": "resize", "input_shape": [1, 3, 380, 550]},
            {"type": "classifier", "threshold": 0.42, "normal_ids": [0]},
        ],
        "class_names": ["normal", "anomaly"],
    }
}


def archive(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.type = kind
            member.linkname = "/etc/passwd"
            out.addfile(member, io.BytesIO(content))
    return path


def test_the_facts_of_a_sagemaker_model(tmp_path: Path) -> None:
    file = archive(
        tmp_path / "model.tar.gz",
        ("config.yaml", b"ModelType: classification\n"),
        ("mochi.json", b'{"version": 1}'),
        ("mochi.pt", b"\0" * 5000),
        ("export_artifacts/manifest.json", json.dumps(GRAPH).encode()),
    )
    assert import_kind(str(file), READER) is ImportKind.SAGEMAKER_MODEL
    facts = read_model_archive(str(file), READER)
    assert facts.threshold == 0.42
    assert (facts.width, facts.height) == (550, 380)
    assert facts.classes == ("normal", "anomaly")
    assert facts.normal == ("normal",)
    assert facts.model_type == "classification"
    assert facts.stages == ("resize", "classifier")
    assert facts.files["mochi.pt"] == 5000
    assert list(tmp_path.iterdir()) == [file]  # nothing is unpacked


@pytest.mark.parametrize("name", ["../config.yaml", "/config.yaml", "a/../../config.yaml"])
def test_an_archive_with_members_outside_is_refused(tmp_path: Path, name: str) -> None:
    file = archive(tmp_path / "model.tar.gz", (name, b"a: 1"))
    with pytest.raises(ModelArchiveInvalid, match="points outside"):
        read_model_archive(str(file), READER)


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    file = archive(tmp_path / "model.tar.gz", ("config.yaml", b""), kind=tarfile.SYMTYPE)
    with pytest.raises(ModelArchiveInvalid, match="not a model"):
        read_model_archive(str(file), READER)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8bnothing", "not a valid tar.gz"),
        (b"", "not a valid tar.gz"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "model.tar.gz"
    file.write_bytes(content)
    with pytest.raises(ModelArchiveInvalid, match=message):
        read_model_archive(str(file), READER)


def test_yaml_in_an_archive_creates_no_objects(tmp_path: Path) -> None:
    evil = b"!!python/object/apply:os.system ['true']\n"
    file = archive(tmp_path / "model.tar.gz", ("config.yaml", evil))
    with pytest.raises(ModelArchiveInvalid, match="cannot be read"):
        read_model_archive(str(file), READER)


def test_the_facts_of_an_export(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "metadata.json").write_text('{"image_threshold": 0.5, "task": "x", "odd": []}')
    assert import_kind(str(tmp_path), READER) is ImportKind.ONNX_MODEL
    assert read_export_facts(tmp_path / "model.onnx") == {"image_threshold": 0.5, "task": "x"}
    (tmp_path / "metadata.json").write_text("[")
    assert read_export_facts(tmp_path / "model.onnx") == {}


@pytest.mark.parametrize(
    "name", ["weights/onnx/model.onnx", "weights/openvino/model.xml", "weights/torch/model.pt"]
)
def test_an_anomalib_export_is_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b'<?xml version="1.0"?>\n<net name="model" version="11">\n')
    for given in (tmp_path, tmp_path / name):
        assert import_kind(str(given), READER) is ImportKind.ONNX_MODEL


def test_kinds_of_manifests(tmp_path: Path) -> None:
    make_pictures(tmp_path / "good", 1)
    assert import_kind(str(tmp_path), READER) is ImportKind.FOLDER
    row = {"source-ref": "good/00000.png", "l": 1, "l-metadata": {"class-name": "anomaly"}}
    file = tmp_path / "a.manifest"
    file.write_text(json.dumps(row))
    assert import_kind(str(file), READER) is ImportKind.MANIFEST
    row |= {"l-detected": 1, "l-detected-metadata": {"class-name": "anomaly", "confidence": 1}}
    file.write_text(json.dumps(row))
    assert import_kind(str(file), READER) is ImportKind.EVALUATION
    (tmp_path / "one.xml").write_text("<annotation/>")
    with pytest.raises(ManifestKindUnknown, match="Annotations/"):
        import_kind(str(tmp_path / "one.xml"), READER)
