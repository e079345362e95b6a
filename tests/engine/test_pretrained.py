"""The pretrained backbone: read without running code, used and stored if it helps."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lfv.engine import (
    ArtifactError,
    Predictor,
    TrainingError,
    TrainingImage,
    TrainingOptions,
    onnx_session,
    train,
)
from lfv.engine import artifact as artifacts
from lfv.engine.descriptors import pool
from lfv.engine.learners import fit_unusual, head_from_arrays
from lfv.engine.normals import alarm_calibration, images_for_rank, is_enough_for_rank
from lfv.engine.pretrained import source
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.pretrained.lite0 import CHANNELS, TAPS
from lfv.engine.pretrained.rounding import likeness, round_filters
from lfv.engine.pretrained.source import pretrained_model
from lfv.engine.pretrained.weights import MAGIC, PROTOCOL, read_weights

Make = Callable[..., list[TrainingImage]]
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True}


class FloatStorage:
    """Replaces torch's class of the same name."""


FloatStorage.__module__ = "torch"


def checkpoint(found: object, *storages: tuple[str, bytes], cut: int = 0) -> bytes:
    body = b"".join(
        pickle.dumps(part, 2)
        for part in (MAGIC, PROTOCOL, SYSTEM, found, [key for key, _ in storages])
    )
    for _, numbers in storages:
        body += struct.pack("<q", len(numbers) // 4) + numbers
    return body[: len(body) - cut]


def test_weights_are_those_of_the_package() -> None:
    path = source.weights_file()
    assert path is not None
    weights = read_weights(path.read_bytes())
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert len(weights) == 296
    assert all(np.isfinite(one).all() for one in weights.values())


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize(
    "found", [_Evil(), OrderedDict(x=_Evil()), OrderedDict(x=os.getcwd), [1], OrderedDict(x=1)]
)
def test_a_checkpoint_runs_no_code(found: object) -> None:
    with pytest.raises(ArtifactError):
        read_weights(checkpoint(found))


@pytest.mark.parametrize("body", [b"", b"\x80\x02.", pickle.dumps(MAGIC, 2), checkpoint({})[:-5]])
def test_a_damaged_checkpoint_is_refused(body: bytes) -> None:
    with pytest.raises(ArtifactError):
        read_weights(body)


def test_a_truncated_package_is_refused(tmp_path: Path) -> None:
    path = source.weights_file()
    assert path is not None
    with pytest.raises(ArtifactError, match=r"truncated|cannot be read"):
        read_weights(path.read_bytes()[:-1000])


def test_the_model_is_plain_onnx_with_three_taps() -> None:
    model = onnx.load_from_string(pretrained_model())
    assert {node.domain for node in model.graph.node} == {""}
    session = ort.InferenceSession(pretrained_model(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), dtype=np.uint8)
    maps = session.run(list(TAPS), {"image": image})
    assert [one.shape for one in maps] == [
        (1, channels, 96 // stride, 64 // stride)
        for channels, stride in zip(CHANNELS, (8, 16, 32), strict=True)
    ]
    assert all(np.isfinite(one).all() and one.std() > 0.01 for one in maps)
    assert min(maps[0].min(), maps[1].min()) == 0  # after ReLU6
    assert len(pretrained_model()) < 4_000_000


def float_model(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The stem and the first blocks up to the first tap in float32, as a reference."""
    nodes, constants = [], []

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(x: str, name: str, norm: str, *, stride: int = 1, depthwise: bool = False) -> str:
        weight = weights[f"{name}.weight"]
        gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
        before = (weight.shape[-1] - stride) // 2
        after = weight.shape[-1] - stride - before
        inputs = [
            x,
            constant(f"{name}.w", weight * gain[:, None, None, None]),
            constant(f"{name}.b", bias),
        ]
        return node(
            "Conv",
            inputs,
            f"{name}.out",
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=len(weight) if depthwise else 1,
        )

    def relu6(x: str) -> str:
        return node("Clip", [x, "zero", "six"], f"{x}.clipped")

    constant("zero", np.array(0))
    constant("six", np.array(6))
    x = relu6(conv("image", "_conv_stem", "_bn0", stride=2))
    for number, stride in enumerate((1, 2, 1, 2, 1)):
        name, source = f"_blocks.{number}", x
        if number:
            x = relu6(conv(x, f"{name}._expand_conv", f"{name}._bn0"))
        x = conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, depthwise=True)
        x = conv(relu6(x), f"{name}._project_conv", f"{name}._bn2")
        if number in (2, 4):
            x = node("Add", [x, source], f"{name}.sum")
    x = relu6(conv(x, "_blocks.5._expand_conv", "_blocks.5._bn0"))
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, None)
    tap = helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "float", [image], [tap], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    body: bytes = model.SerializeToString()
    return body


def test_8_bit_features_are_close_to_those_in_float32() -> None:
    path = source.weights_file()
    assert path is not None
    rows, columns = np.mgrid[:96, :96]
    wave = 127 + 60 * np.sin(rows / 7) * np.cos(columns / 11)
    noise = np.random.default_rng(0).normal(0, 8, (96, 96, 3))
    image = np.clip(wave[..., None] + noise, 0, 255).astype(np.uint8)
    providers = ["CPUExecutionProvider"]
    reference = ort.InferenceSession(
        float_model(read_weights(path.read_bytes())), providers=providers
    )
    shown = (image.transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128
    (wanted,) = reference.run(None, {"image": shown})
    session = ort.InferenceSession(pretrained_model(), providers=providers)
    (found,) = session.run(["stride8"], {"image": image[None]})
    assert np.sqrt(((found - wanted) ** 2).mean()) < 0.12 * wanted.std()


def test_rounding_of_filters_keeps_their_response_to_flat_areas() -> None:
    random = np.random.default_rng(0)
    edges = random.normal(0, 1, (50, 1, 3, 3))
    edges -= edges.mean(axis=(2, 3), keepdims=True)
    moments = likeness(3, np.full(50, 3.0), np.full(50, 0.5))
    kept = round_filters(edges, moments)
    steps = np.abs(edges).max(axis=(1, 2, 3)) / 127
    nearest = np.rint(edges / steps[:, None, None, None]).sum(axis=(1, 2, 3)) * steps
    response = kept.values.sum(axis=(1, 2, 3)) * kept.steps
    assert np.abs(response).mean() < 0.4 * np.abs(nearest).mean()


def test_a_shifted_pattern_is_closer_than_a_plain_area() -> None:
    backbone = PretrainedBackbone.for_images(64, 64)
    see = backbone.open()
    flat = np.full((384, 384, 3), 127, np.uint8)
    striped = flat.copy()
    striped[::8] = 255
    moved = np.roll(striped, 3, axis=0)
    first, second, other = (
        backbone.describe(see(one)).statistics for one in (striped, moved, flat)
    )
    assert np.linalg.norm(first - second) < 0.6 * np.linalg.norm(first - other)


def test_a_missing_or_changed_package_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretrained_model.cache_clear()
    monkeypatch.setattr(source, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match="--no-backbone"):
        pretrained_model()
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    monkeypatch.setattr(source, "weights_file", lambda: other)
    with pytest.raises(TrainingError, match="not the file that this release knows"):
        pretrained_model()
    pretrained_model.cache_clear()


def test_pooling_takes_mean_maximum_and_deviation() -> None:
    maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values = pool([maps, maps[:1]]).statistics
    assert values.shape == (9,)
    assert values[:4] == pytest.approx([5.5, 17.5, 11, 23])


def test_images_unlike_the_normals_score_higher() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(0, 1, (3, 200))
    normals = (random.normal(0, 1, (40, 3)) @ mixing + random.normal(0, 0.3, (40, 200))).astype(
        np.float32
    )
    head = fit_unusual(normals[:30])
    again = head_from_arrays(head.to_arrays("x"), "x")
    odd = normals[30:] + random.normal(0, 1.5, (10, 200)).astype(np.float32)
    assert head(odd).min() > head(normals[30:]).max()
    assert again(odd) == pytest.approx(head(odd), abs=1e-2)


def test_with_few_images_values_are_scaled_by_the_variation_within_images() -> None:
    random = np.random.default_rng(0)
    within = random.uniform(0.5, 2, 40)

    mean, most = (random.normal(5, within / 3, (5, 40)) for _ in range(2))
    known = np.concatenate([mean, most, np.tile(within, (5, 1))], axis=1).astype(np.float32)
    plain, expected = (
        np.log(fit_unusual(known, channels).gain[:40] * within).std() for channels in ((), (40,))
    )
    assert expected < 0.3 * plain


@pytest.mark.parametrize(("count", "rate"), [(99, 0.05), (30, 0.02), (12, 0.02)])
def test_false_alarms_keep_the_stated_rate(count: int, rate: float) -> None:
    random = np.random.default_rng(1)
    rates = []
    for _ in range(300):
        known, new = random.normal(3, 2, count), random.normal(3, 2, 500)
        rates.append((alarm_calibration(known, rate)(new) >= 0.5).mean())
    assert np.mean(rates) == pytest.approx(rate, abs=0.01)


def test_a_rate_is_counted_with_enough_images() -> None:
    assert images_for_rank(0.02) == 100
    assert is_enough_for_rank(100, 0.02)
    assert not is_enough_for_rank(99, 0.02)


def test_a_model_without_the_backbone_does_not_contain_it(
    make_plates: Make, tmp_path: Path
) -> None:
    images = make_plates(10, 10)
    train(images, [], tmp_path / "without", options=TrainingOptions(pretrained=False))
    assert "backbone" not in artifacts.load(tmp_path / "without").model


def test_models_of_normal_images_use_and_contain_the_backbone(
    make_plates: Make, tmp_path: Path
) -> None:
    images = make_plates(14, 0)
    outcome = train(images, make_plates(6, 6, first=700), tmp_path / "m")
    contents = artifacts.load(tmp_path / "m")
    assert contents.model["backbone"]["pretrained"] == "efficientnet-lite0"
    assert contents.model["backbone"]["licence"] == "Apache-2.0"
    assert outcome.findings is not None
    assert any("Apache-2.0" in remark for remark in outcome.findings.remarks)
    assert artifacts.size_bytes(tmp_path / "m") < 12_000_000
    assert any("extrapolated" in warning for warning in outcome.warnings)
    predictor = Predictor.load(tmp_path / "m")
    body = images[0].path.read_bytes()
    assert not predictor.predict(body).is_anomalous
    assert predictor.predict(body).anomaly_map is None
    assert predictor.predict(body, with_map=True).anomaly_map is not None
    contents.model["backbone"]["size"] = [100, 96]
    artifacts.save(tmp_path / "wrong", contents)
    with pytest.raises(ArtifactError):
        Predictor.load(tmp_path / "wrong")


def test_a_high_cost_of_a_miss_changes_verdicts_but_not_probabilities(
    make_plates: Make, tmp_path: Path
) -> None:
    images, test = make_plates(10, 10), make_plates(5, 5, first=300)
    found = {}
    for cost in (1.0, 9.0):
        options = TrainingOptions(pretrained=False, miss_cost=cost)
        outcome = train(images, test, tmp_path / f"{cost}", options=options)
        assert outcome.evaluation["Details"]["Threshold"] == pytest.approx(1 / (1 + cost))
        found[cost] = {
            image.source_ref: (
                image.confidence if image.is_anomalous else 1 - image.confidence,
                image.is_anomalous,
            )
            for image in outcome.evaluated
        }
    assert {k: v[0] for k, v in found[1.0].items()} == pytest.approx(
        {k: v[0] for k, v in found[9.0].items()}
    )
    assert all(found[9.0][k][1] >= found[1.0][k][1] for k in found[1.0])
    assert all(called == (p >= 0.1) for p, called in found[9.0].values())


@pytest.mark.parametrize(
    "given", [{"miss_cost": 0.0}, {"false_alarms": 0.0}, {"false_alarms": 0.6}]
)
def test_impossible_costs_are_refused(given: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train([], [], tmp_path, options=TrainingOptions(**given))  # type: ignore[arg-type]


def test_maps_are_the_same_on_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    backbone = PretrainedBackbone(96, 64, pretrained_model())
    here = backbone.open()(image)
    monkeypatch.setattr(onnx_session, "_would_overflow", lambda: True)
    for ours, theirs in zip(here, backbone.open()(image), strict=True):
        assert np.array_equal(ours, theirs)
