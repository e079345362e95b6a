"""Users' backbones and detectors: used if they help, and reported truthfully."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from PIL import Image

from lfv.engine import (
    ArtifactError,
    OnnxRejected,
    Predictor,
    TrainingError,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
    train,
)
from tests.support import onnx_models

Make = Callable[..., list[TrainingImage]]
COLORS = {"#23A436": "mark"}
PATTERN = onnx_models.tile(5)
OTHERS = [onnx_models.tile(seed) for seed in range(40, 44)]


def roc_auc(outcome: TrainingOutcome) -> float:
    metrics = outcome.evaluation["AggregatedEvaluationResults"]["Metrics"]
    return float(metrics["ROCAUC"])


def noisy(
    folder: Path, count: int, *, first: int = 0, masks: bool = False, brighter: float = 0
) -> list[TrainingImage]:
    """Images of noise; every second one has a pattern that only its matcher can see.

    :param brighter: how much brighter that one is; all images vary about as much.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(count):
        random = np.random.default_rng(first + number)
        wrong = number % 2 == 1
        # The background is made of tiles too, so that neither edges nor statistics tell them apart.
        cells = random.integers(0, 2**31, (4, 6))
        plane = np.block([[onnx_models.tile(int(seed)) for seed in row] for row in cells])
        top, left = (int(16 * random.integers(0, n)) for n in (3, 5))
        if wrong:
            plane[top : top + 32, left : left + 32] = np.tile(PATTERN, (2, 2))[
                :, : plane.shape[1] - left
            ]
        values = 128 + 12 * plane + random.normal(0, 10, plane.shape)
        values += brighter * (wrong + random.normal(0, 0.6))
        path = folder / f"{number}.png"
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB").save(path)
        mask_path = None
        if masks and wrong:
            mask = Image.new("RGB", (96, 64), "white")
            mask.paste("#23A436", (left, top, left + 32, top + 32))
            mask_path = folder / f"{number}.mask.png"
            mask.save(mask_path)
        colors = COLORS if mask_path else {}
        images.append(TrainingImage(f"noisy/{number}.png", path, wrong, mask_path, colors))
    return images


def saved(folder: Path, name: str, body: bytes) -> Path:
    path = folder / name
    path.write_bytes(body)
    return path


HELPFUL = onnx_models.matcher([PATTERN, *OTHERS], shape=(1, 3, 64, 96)).SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("custom")


@pytest.fixture(scope="module")
def with_backbone(folder: Path) -> tuple[Path, TrainingOutcome]:
    options = TrainingOptions(backbone=saved(folder, "helpful.onnx", HELPFUL))
    images, test = noisy(folder / "train", 28), noisy(folder / "test", 8, first=500)
    return folder / "model", train(images, test, folder / "model", options=options)


def test_a_helpful_backbone_is_chosen(with_backbone: tuple[Path, TrainingOutcome]) -> None:
    model, outcome = with_backbone
    told = outcome.evaluation["Details"]["Backbone"]
    assert told["Used"]
    assert told["Sha256"] == hashlib.sha256(HELPFUL).hexdigest()
    assert told["AUROCWith"] > max(0.95, told["AUROCWithout"] + 0.1)
    assert roc_auc(outcome) > 0.95
    assert (model / "backbone.onnx").read_bytes() == HELPFUL
    assert outcome.findings is not None
    assert any("is used for verdicts (AUROC" in remark for remark in outcome.findings.remarks)


def test_a_moved_model_predicts_as_it_was_evaluated(
    with_backbone: tuple[Path, TrainingOutcome], folder: Path
) -> None:
    model, outcome = with_backbone
    moved = shutil.copytree(model, folder / "elsewhere")
    (folder / "helpful.onnx").rename(folder / "away.onnx")
    predictor = Predictor.load(moved)
    for image, seen in zip(noisy(folder / "test", 8, first=500), outcome.evaluated, strict=True):
        verdict = predictor.predict(image.path.read_bytes())
        assert verdict.is_anomalous == seen.is_anomalous
        assert verdict.confidence == pytest.approx(seen.confidence, abs=1e-3)


def forge(model: Path, name: str, body: bytes) -> None:
    (model / name).write_bytes(body)
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    (model / "manifest.json").write_text(json.dumps(manifest))


def test_a_damaged_or_exchanged_backbone_is_refused(
    with_backbone: tuple[Path, TrainingOutcome], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(with_backbone[0], tmp_path / "model"))
    (model / "backbone.onnx").write_bytes(HELPFUL[:-1])
    with pytest.raises(ArtifactError, match=r"backbone\.onnx is truncated"):
        Predictor.load(model)
    (model / "backbone.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"backbone\.onnx is missing"):
        Predictor.load(model)
    foreign = onnx_models.matcher([PATTERN])
    foreign.graph.node[0].domain = "evil"
    forge(model, "backbone.onnx", foreign.SerializeToString())
    with pytest.raises(ArtifactError, match="operator domain 'evil'"):
        Predictor.load(model)
    forge(model, "backbone.onnx", b"")
    with pytest.raises(ArtifactError, match="holds no graph"):
        Predictor.load(model)


def test_a_useless_backbone_is_not_kept(make_plates: Make, tmp_path: Path) -> None:
    useless = onnx_models.matcher(OTHERS).SerializeToString()
    path = saved(tmp_path, "useless.onnx", useless)
    options = TrainingOptions(backbone=path)
    images = noisy(tmp_path / "images", 20, brighter=10)
    outcome = train(images, [], tmp_path / "one", options=options)
    assert outcome.evaluation["Details"]["Backbone"]["Used"] is False
    assert any("is not used, because it does not help" in told for told in outcome.warnings)
    assert not (tmp_path / "one" / "backbone.onnx").exists()
    outcome = train(make_plates(12, 0), [], tmp_path / "two", options=options)
    assert outcome.evaluation["Details"]["Backbone"]["Used"] is False
    assert any("nothing to measure it on" in told for told in outcome.warnings)


def test_a_backbone_can_improve_masks(folder: Path, tmp_path: Path) -> None:
    sharp = onnx_models.matcher([PATTERN, *OTHERS], shape=(1, 3, 64, 96), stride=8)
    path = saved(tmp_path, "sharp.onnx", sharp.SerializeToString())
    options = TrainingOptions(backbone=path)
    images = noisy(folder / "masked", 20, masks=True)
    images = [image for number, image in enumerate(images) if number < 15 or not number % 2]
    test = noisy(folder / "masked-test", 4, first=700, masks=True)
    outcome = train(images, test, tmp_path / "model", options=options)
    told = outcome.evaluation["Details"]["Backbone"]
    assert told["IoUWithout"] < 0.3
    assert told["IoUWith"] > told["IoUWithout"] + 0.2
    (label,) = outcome.evaluation["LabelEvaluationResults"]
    assert label["Metrics"]["IoU"] > 0.4
    predictor = Predictor.load(tmp_path / "model")
    for image, seen in zip(test, outcome.evaluated, strict=True):
        verdict = predictor.predict(image.path.read_bytes())
        found = {anomaly.name: anomaly.total_percentage_area for anomaly in verdict.anomalies[1:]}
        assert found == pytest.approx(dict(seen.areas), abs=1e-4)


def test_refusals_reach_the_user(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(12, 12)
    torn = saved(tmp_path, "torn.onnx", HELPFUL[:100])
    for options in (TrainingOptions(backbone=torn), TrainingOptions(detector=torn)):
        with pytest.raises(OnnxRejected, match="truncated"):
            train(images, [], tmp_path / "model", options=options)
    small = TrainingOptions(backbone=torn, onnx_bytes=50)
    with pytest.raises(OnnxRejected, match="larger than the limit"):
        train(images, [], tmp_path / "model", options=small)
    with pytest.raises(TrainingError, match="either a detector or a backbone"):
        train(images, [], tmp_path, options=TrainingOptions(backbone=torn, detector=torn))
    assert not (tmp_path / "model").exists()


DARKNESS = onnx_models.darkness_detector().SerializeToString()


def test_a_detector_becomes_a_model(make_plates: Make, tmp_path: Path) -> None:
    options = TrainingOptions(detector=saved(tmp_path, "d.onnx", DARKNESS))
    test = make_plates(10, 10, first=600, masks=True)
    # The colour map names stains too; no mask shows one.
    images = make_plates(16, 16, masks=True)
    outcome = train(images, test, tmp_path / "model", options=options)
    assert outcome.f1 > 0.9
    assert outcome.anomaly_types == (("scratch", "#23A436"),)
    (label,) = outcome.evaluation["LabelEvaluationResults"]
    assert label["Metrics"]["IoU"] > 0.4
    assert "Detector" in outcome.evaluation["Details"]
    assert any("training images are unknown" in told for told in outcome.warnings)
    predictor = Predictor.load(tmp_path / "model")
    for image, seen in zip(test, outcome.evaluated, strict=True):
        verdict = predictor.predict(image.path.read_bytes())
        assert verdict.is_anomalous == seen.is_anomalous
        assert verdict.confidence == pytest.approx(seen.confidence, abs=1e-6)
        assert verdict.anomalies[0].name == "background"
        assert verdict.anomaly_mask is not None
        with Image.open(io.BytesIO(verdict.anomaly_mask)) as mask:
            assert mask.size == (96, 80)
    assert outcome.findings is not None
    assert any("not trained here" in remark for remark in outcome.findings.remarks)
    assert not outcome.findings.own_features
    moved = Path(shutil.copytree(tmp_path / "model", tmp_path / "moved"))
    forge(moved, "detector.onnx", HELPFUL[:80])
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        Predictor.load(moved)


@pytest.mark.parametrize(
    ("detector", "masks", "kinds", "told"),
    [
        (onnx_models.darkness_detector(maps=False), True, ("scratch",), "has no anomaly map"),
        (
            onnx_models.darkness_detector(score=False, names=("s", "output")),
            False,
            ("scratch",),
            "no masks",
        ),
        (onnx_models.darkness_detector(), True, ("scratch", "stain"), "single anomaly map can"),
    ],
    ids=["score-only", "map-by-another-name", "two-types"],
)
def test_detectors_with_verdicts_only(
    make_plates: Make,
    tmp_path: Path,
    detector: ModelProto,
    masks: bool,
    kinds: tuple[str, ...],
    told: str,
) -> None:
    options = TrainingOptions(detector=saved(tmp_path, "d.onnx", detector.SerializeToString()))
    images = make_plates(14, 14, masks=masks, kinds=kinds)
    outcome = train(images, [], tmp_path / "model", options=options)
    assert outcome.anomaly_types == ()
    assert outcome.evaluation["LabelEvaluationResults"] == []
    assert roc_auc(outcome) > 0.7
    assert outcome.findings is not None
    assert any(told in remark for remark in outcome.findings.remarks)
    verdict = Predictor.load(tmp_path / "model").predict(images[0].path.read_bytes())
    assert verdict.anomaly_mask is None


def test_a_detector_that_finds_nothing_is_reported(make_plates: Make, tmp_path: Path) -> None:
    blind = onnx_models.darkness_detector()
    blind.graph.node[2].op_type = "Add"  # now bright images count as anomalous
    options = TrainingOptions(detector=saved(tmp_path, "d.onnx", blind.SerializeToString()))
    outcome = train(make_plates(14, 14), [], tmp_path / "model", options=options)
    assert any("hardly tells normal from anomalous" in told for told in outcome.warnings)


def test_a_detector_on_normal_images_alone(make_plates: Make, tmp_path: Path) -> None:
    options = TrainingOptions(detector=saved(tmp_path, "d.onnx", DARKNESS))
    outcome = train(make_plates(14, 0), make_plates(8, 8, first=700), tmp_path, options=options)
    assert roc_auc(outcome) > 0.9
    assert outcome.f1 > 0.8
