"""Exports with the inputs, outputs and files of anomalib 0.7, 1.2 and 2.3.

The networks are ours: anything darker than the part is an anomaly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from lfv.engine.custom_models.acceptance import Accepted, accept_detector
from lfv.engine.custom_models.detector import Reading, open_reader
from lfv.engine.custom_models.exported_onnx import read_export
from lfv.engine.errors import OnnxRejected
from lfv.onnx_files import onnx_digest
from tests.support import onnx_models

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
WHOLE, PART = 96, 84
MARGIN = (WHOLE - PART) // 2
Weights = dict[str, NDArray[Any]]

RESIZE = {"__class_fullname__": "Resize", "height": WHOLE, "width": WHOLE, "interpolation": 1}
CROP = {"__class_fullname__": "CenterCrop", "height": PART, "width": PART}
NORMALIZE = {"__class_fullname__": "Normalize", "mean": MEAN, "std": STD, "max_pixel_value": 255.0}
TO_FLOAT = {"__class_fullname__": "ToFloat", "max_value": 255}
TO_TENSOR = {"__class_fullname__": "ToTensorV2", "transpose_mask": False}


def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (WHOLE, WHOLE, 3), dtype=np.uint8)


def network(image: str, map_name: str, score_name: str) -> list[NodeProto]:
    """The anomaly map of these models: the negative brightness of each pixel."""
    return [
        helper.make_node("ReduceMean", [image], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Neg", ["grey"], [map_name]),
        helper.make_node("ReduceMax", [map_name], [score_name], axes=[1, 2, 3], keepdims=0),
    ]


def darkness(pixels: NDArray[np.uint8], *, normalized: bool) -> NDArray[np.float64]:
    """The same, of an image of any size."""
    values = pixels / 255
    if normalized:
        values = (values - MEAN) / STD
    found: NDArray[np.float64] = -values.mean(axis=2)
    return found


def save(model: onnx.ModelProto, folder: Path, metadata: dict[str, Any] | None) -> Path:
    """Write the files as the exporter does, below weights/onnx."""
    file = folder / "weights" / "onnx" / "model.onnx"
    file.parent.mkdir(parents=True)
    onnx.save(model, file)
    if metadata is not None:
        file.with_name("metadata.json").write_text(json.dumps(metadata, indent=4))
    return folder / "weights"


def version_0(folder: Path, steps: list[dict[str, Any]], *, maps: int = 1) -> Path:
    """0.7: one size, no transform in the graph, outputs but the first named by numbers."""
    side = PART if CROP in steps else WHOLE
    shape = (FLOAT, [1, 1, side, side])
    nodes = network("input", "output", "1234")
    outputs: dict[str, tuple[int, Any]] = {"output": shape, "1234": (FLOAT, [1])}
    for number in range(1, maps):  # EfficientAD returns the maps that it combines, and no score
        nodes.append(helper.make_node("Abs", ["output"], [str(number)]))
        outputs = {**outputs, str(number): shape}
    if maps > 1:
        del outputs["1234"]
    model = onnx_models.model(nodes, outputs, {}, shape=[1, 3, side, side])
    return save(
        renamed(model, 11),
        folder,
        {
            "task": "segmentation",
            "transform": {"__version__": "1.3.1", "transform": {"transforms": steps}},
            "image_threshold": 0.7,
            "pixel_threshold": 0.6,
            "min": 0.1,
            "max": 3.2,
        },
    )


def transforming(names: dict[str, str], *, crop: bool) -> tuple[list[NodeProto], Weights]:
    """1.2 and 2.3: the graph resizes images of any size, crops and normalises them."""
    weights: Weights = {
        "zero": np.array([0], np.int64),
        "two": np.array([2], np.int64),
        "sides": np.array([WHOLE, WHOLE], np.int64),
        "mean": np.array(MEAN, np.float32).reshape(1, 3, 1, 1),
        "std": np.array(STD, np.float32).reshape(1, 3, 1, 1),
    }
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["batch and channels"]),
        helper.make_node("Concat", ["batch and channels", "sides"], ["sizes"], axis=0),
        helper.make_node(
            "Resize",
            ["input", "", "", "sizes"],
            ["resized"],
            mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
        ),
    ]
    last = "resized"
    if crop:
        last = "cropped"
        weights |= {
            "starts": np.array([MARGIN, MARGIN], np.int64),
            "ends": np.array([MARGIN + PART, MARGIN + PART], np.int64),
            "axes": np.array([2, 3], np.int64),
        }
        nodes.append(helper.make_node("Slice", ["resized", "starts", "ends", "axes"], ["cropped"]))
    nodes += [
        helper.make_node("Sub", [last, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        *network("normalised", names["map"], names["score"]),
    ]
    return nodes, weights


def renamed(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The input has the name that anomalib uses."""
    model.graph.input[0].name = "input"
    model.opset_import[0].version = opset
    return model


def version_1(folder: Path, *, crop: bool = True) -> Path:
    """1.2: a map named output, others named by numbers; a file of thresholds."""
    nodes, weights = transforming({"map": "output", "score": "2345"}, crop=crop)
    outputs = {"output": (FLOAT, ["batch_size", 1, None, None]), "2345": (FLOAT, [None])}
    model = onnx_models.model(nodes, outputs, weights, shape=["batch_size", 3, "height", "weight"])
    metadata = {"task": "segmentation", "image_threshold": 0.7, "pixel_threshold": 0.6}
    return save(renamed(model, 14), folder, metadata)


def version_2(folder: Path, *, crop: bool) -> Path:
    """2.3: four outputs with names, and no other file."""
    nodes, weights = transforming({"map": "anomaly_map", "score": "pred_score"}, crop=crop)
    weights["half"] = np.array(0.5, np.float32)
    nodes += [
        helper.make_node("Greater", ["pred_score", "half"], ["pred_label"]),
        helper.make_node("Greater", ["anomaly_map", "half"], ["pred_mask"]),
    ]
    shape = ["batch_size", 1, None, None]
    outputs = {
        "pred_score": (FLOAT, ["batch_size"]),
        "pred_label": (BOOL, ["batch_size"]),
        "anomaly_map": (FLOAT, shape),
        "pred_mask": (BOOL, shape),
    }
    model = onnx_models.model(nodes, outputs, weights, shape=["batch_size", 3, "height", "width"])
    return save(renamed(model, 14), folder, None)


def read(path: Path) -> tuple[Accepted, Reading]:
    accepted = accept_detector(read_export(path, 1 << 20))
    return accepted, open_reader(accepted.view, accepted.body)(image())


def check(path: Path, *, crop: bool, normalized: bool = True) -> None:
    """Score and map are those of the image, or of its centre with an anomaly-free margin."""
    accepted, reading = read(path)
    assert accepted.view.size == (WHOLE, WHOLE)
    assert reading.map is not None
    inner = slice(MARGIN, MARGIN + PART) if crop else slice(0, WHOLE)
    expected = darkness(image()[inner, inner], normalized=normalized)
    whole = np.full((WHOLE, WHOLE), expected.min())
    whole[inner, inner] = expected
    assert np.allclose(reading.map, whole, atol=1e-5)
    assert reading.score == pytest.approx(expected.max(), abs=1e-5)


def test_version_0_normalises_outside_of_the_graph(tmp_path: Path) -> None:
    check(version_0(tmp_path, [RESIZE, NORMALIZE, TO_TENSOR]), crop=False)


def test_version_0_crops_outside_of_the_graph(tmp_path: Path) -> None:
    check(version_0(tmp_path, [RESIZE, CROP, NORMALIZE, TO_TENSOR]), crop=True)


def test_version_0_with_several_maps(tmp_path: Path) -> None:
    path = version_0(tmp_path, [RESIZE, TO_FLOAT, TO_TENSOR], maps=3)
    check(path, crop=False, normalized=False)


@pytest.mark.parametrize("crop", [False, True], ids=["whole", "centre crop"])
def test_version_1_transforms_images_of_any_size_itself(tmp_path: Path, crop: bool) -> None:
    check(version_1(tmp_path, crop=crop), crop=crop)


@pytest.mark.parametrize("crop", [False, True], ids=["whole", "centre crop"])
def test_version_2_names_its_outputs(tmp_path: Path, crop: bool) -> None:
    check(version_2(tmp_path, crop=crop), crop=crop)


def test_a_converted_file_can_be_read_again(tmp_path: Path) -> None:
    """The service keeps the file that it wrote, and calibrates from that."""
    body = read_export(version_1(tmp_path), 1 << 20)
    (tmp_path / "kept.onnx").write_bytes(body)
    assert read_export(tmp_path / "kept.onnx", 1 << 20) == body


def test_an_unknown_step(tmp_path: Path) -> None:
    blur = {"__class_fullname__": "albumentations.augmentations.GaussianBlur"}
    path = version_0(tmp_path, [RESIZE, blur, NORMALIZE, TO_TENSOR])
    with pytest.raises(OnnxRejected, match=r"'GaussianBlur'.*not supported; export") as caught:
        read_export(path, 1 << 20)
    assert caught.value.reason == "transform"


def test_the_digest_covers_the_transform(tmp_path: Path) -> None:
    path = version_0(tmp_path, [RESIZE, NORMALIZE, TO_TENSOR])
    before = onnx_digest(path)
    metadata = path / "onnx" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("0.485", "0.5"))
    assert onnx_digest(path) != before
