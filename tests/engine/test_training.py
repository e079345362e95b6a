"""Training and prediction from end to end, on small synthetic plates."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lfv.engine import (
    ImageRejected,
    Predictor,
    TrainingError,
    TrainingImage,
    TrainingOptions,
    TrainingOutcome,
    artifact,
    pixels,
    train,
)

pytestmark = pytest.mark.slow

Make = Callable[..., list[TrainingImage]]
KINDS = ("scratch", "stain", "scratch stain")
#: For tests that are not about the pretrained backbone: takes half of the time.
PLAIN = TrainingOptions(pretrained=False)


@pytest.fixture(scope="module")
def by_labels(
    make_plates: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainingOutcome]:
    folder = tmp_path_factory.mktemp("model") / "labels"
    progress: list[float] = []
    outcome = train(
        make_plates(14, 14),
        make_plates(8, 8, first=500),
        folder,
        progress=lambda share, _what: progress.append(share),
    )
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)
    return folder, outcome


@pytest.fixture(scope="module")
def by_masks(
    make_plates: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainingOutcome]:
    folder = tmp_path_factory.mktemp("model") / "masks"
    images = make_plates(14, 15, masks=True, kinds=KINDS)
    dummy = folder.parent / "dummy.png"
    Image.new("RGB", (16, 16), "black").save(dummy)
    images[0] = replace(images[0], mask_path=dummy, mask_colors=images[-1].mask_colors)
    images[-1] = replace(images[-1], mask_path=None, mask_colors={})
    palette = images[-2].mask_path
    assert palette is not None
    with Image.open(palette) as opened:
        converted = opened.quantize(8).resize((48, 40), Image.Resampling.NEAREST)
    converted.save(palette)
    return folder, train(images, make_plates(6, 6, first=700, masks=True, kinds=KINDS), folder)


def test_labels_alone(by_labels: tuple[Path, TrainingOutcome], make_plates: Make) -> None:
    folder, outcome = by_labels
    assert (outcome.width, outcome.height, outcome.anomaly_types) == (96, 80, ())
    assert outcome.f1 >= 0.9
    assert len(outcome.evaluated) == 16
    predictor = Predictor.load(folder)
    assert (predictor.width, predictor.height, predictor.anomaly_types) == (96, 80, ())
    images = make_plates(10, 10, first=900)
    verdicts = [predictor.predict(image.path.read_bytes()) for image in images]
    right = [v.is_anomalous == i.is_anomalous for v, i in zip(verdicts, images, strict=True)]
    assert np.mean(right) >= 0.9
    assert all(0.5 <= v.confidence <= 1 - 1 / 31 for v in verdicts)
    assert all(v.anomalies is None and v.anomaly_mask is None for v in verdicts)


def test_the_evaluated_verdicts_are_the_returned_ones(
    by_labels: tuple[Path, TrainingOutcome], make_plates: Make
) -> None:
    folder, outcome = by_labels
    predictor = Predictor.load(folder)
    for image, seen in zip(make_plates(8, 8, first=500), outcome.evaluated, strict=True):
        verdict = predictor.predict(image.path.read_bytes())
        assert verdict.is_anomalous == seen.is_anomalous
        assert verdict.confidence == pytest.approx(seen.confidence, abs=1e-3)


def test_the_evaluation_result_has_the_original_keys(
    by_labels: tuple[Path, TrainingOutcome],
) -> None:
    outcome = by_labels[1]
    result = json.loads(json.dumps(outcome.evaluation))
    assert result["Version"] == 1
    assert result["EvaluationDetails"]["NumberOfTrainingImages"] == 28
    assert result["EvaluationDetails"]["NumberOfTestingImages"] == 16
    metrics = result["AggregatedEvaluationResults"]["Metrics"]
    assert metrics == {
        "ROCAUC": metrics["ROCAUC"],
        "AveragePrecision": metrics["AveragePrecision"],
        "Precision": outcome.precision,
        "Recall": outcome.recall,
        "F1Score": outcome.f1,
    }
    assert metrics["ROCAUC"] > 0.9


def test_the_findings_are_plain_values(by_labels: tuple[Path, TrainingOutcome]) -> None:
    _, outcome = by_labels
    found = outcome.findings
    assert found is not None
    assert (found.normal, found.anomalous) == (14, 14)
    assert all(
        one.is_anomalous == (one.probability >= found.threshold) for one in outcome.evaluated
    )
    for curve in (found.roc, found.precision_recall, found.reliability):
        assert curve is not None
        assert len(curve.x) == len(curve.y) > 1
        assert all(0 <= value <= 1 for value in (*curve.x, *curve.y))
    assert found.tried
    assert sum(one.weight for one in found.experts) == pytest.approx(1)
    json.dumps(asdict(found))


def test_the_same_training_gives_the_same_model(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(12, 12)
    for name, workers in (("one", 1), ("two", 2)):
        train(images, [], tmp_path / name, options=TrainingOptions(workers=workers))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_masks_with_two_types(by_masks: tuple[Path, TrainingOutcome], make_plates: Make) -> None:
    folder, outcome = by_masks
    assert outcome.anomaly_types == (("scratch", "#23A436"), ("stain", "#FF7F0E"))
    assert outcome.f1 >= 0.9
    labels = {r["Label"]: r["Metrics"] for r in outcome.evaluation["LabelEvaluationResults"]}
    assert labels["stain"]["IoU"] > 0.7
    assert labels["scratch"]["IoU"] > 0.3
    predictor = Predictor.load(folder)
    both = make_plates(0, 1, first=990, kinds=("scratch stain",))[0]
    verdict = predictor.predict(both.path.read_bytes())
    assert verdict.is_anomalous
    assert verdict.anomalies[0].name == "background"
    assert {a.name: a.color for a in verdict.anomalies[1:]} == dict(outcome.anomaly_types)
    assert sum(a.total_percentage_area for a in verdict.anomalies) == pytest.approx(1.0)
    assert verdict.anomaly_mask is not None
    with Image.open(io.BytesIO(verdict.anomaly_mask)) as mask:
        assert (mask.format, mask.size) == ("PNG", (96, 80))
        pixels = np.asarray(mask.convert("RGB")).reshape(-1, 3)
    share = (pixels == (0xFF, 0x7F, 0x0E)).all(axis=1).mean()
    stain = next(a for a in verdict.anomalies if a.name == "stain")
    assert share == pytest.approx(stain.total_percentage_area)


def test_normal_images_alone(make_plates: Make, tmp_path: Path) -> None:
    outcome = train(make_plates(20, 0), make_plates(8, 8, first=500), tmp_path)
    metrics = outcome.evaluation["AggregatedEvaluationResults"]["Metrics"]
    assert metrics["ROCAUC"] >= 0.95
    assert any("no anomalous images" in warning for warning in outcome.warnings)
    assert Predictor.load(tmp_path).anomaly_types == ()
    found = train(make_plates(12, 0), [], tmp_path, options=PLAIN).findings
    assert found is not None
    assert (found.normal, found.anomalous, found.roc) == (12, 0, None)


def test_a_handful_of_anomalies_is_set_aside(make_plates: Make, tmp_path: Path) -> None:
    outcome = train(make_plates(12, 3), [], tmp_path, options=PLAIN)
    assert any("Only 3 anomalous" in warning for warning in outcome.warnings)
    assert len(outcome.evaluated) == 12


def copies(image: TrainingImage, folder: Path, count: int, change: int) -> list[TrainingImage]:
    """The same image again, with one pixel changed by ``change`` times its number."""
    folder.mkdir()
    found = []
    for number in range(count):
        with Image.open(image.path) as opened:
            again = opened.convert("RGB")
        red, green, blue = again.getpixel((40, 40))  # type: ignore[misc]
        again.putpixel((40, 40), (red, green, (blue + change * number) % 256))
        path = folder / f"{number}.png"
        again.save(path)
        found.append(replace(image, source_ref=f"{folder.name}/{number}.png", path=path))
    return found


def test_copies_count_once(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(14, 1)
    again = copies(images[-1], tmp_path / "same", 6, 0)
    outcome = train([*images[:-1], *again], [], tmp_path, options=PLAIN)
    told = r"Only 1 anomalous image; 5 are copies of others, byte for byte: too few"
    assert re.search(told, "\n".join(outcome.warnings))
    with pytest.raises(TrainingError, match="has 1; 9 are copies of others"):
        train(copies(images[0], tmp_path / "normal", 10, 0), [], tmp_path)


@pytest.mark.parametrize("masks", [False, True])
def test_several_shots_of_one_part_can_be_trained_on(
    make_plates: Make, tmp_path: Path, *, masks: bool
) -> None:
    """With all images of a class in one fold, the others could not learn it."""
    images = make_plates(12, 1, masks=masks)
    shots = copies(images[-1], tmp_path / "shots", 6, 1)
    outcome = train([*images[:-1], *shots], [], tmp_path, options=PLAIN)
    assert any(
        "6 images are as similar as repeated shots of one part" in w for w in outcome.warnings
    )
    assert all(e.correct for e in outcome.evaluated if e.is_anomalous_truth)


def test_images_that_show_nothing_are_refused(tmp_path: Path) -> None:
    images = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        text = PngInfo()
        text.add_text("number", str(number))  # other bytes, and the same pixels
        Image.new("RGB", (80, 80), (128, 128, 128)).save(path, pnginfo=text)
        images.append(TrainingImage(path.name, path, is_anomalous=number % 2 == 1))
    with pytest.raises(TrainingError, match="6 normal images hold 1 different picture:"):
        train(images, [], tmp_path / "model")


def test_a_second_pass_that_does_not_help_is_left_out(
    make_plates: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter([0.6, 0.5])  # of the first pass out of fold, and of the second
    monkeypatch.setattr(pixels, "overlap", lambda *_: next(falling))
    images = make_plates(8, 8, masks=True)
    train(images, [], tmp_path, options=TrainingOptions(pretrained=False))
    assert next(falling, None) is None
    contents = artifact.load(tmp_path)
    assert contents.model["refined"] is False
    assert not any(name.startswith("refine") for name in contents.arrays)
    verdicts = [Predictor.load(tmp_path).predict(image.path.read_bytes()) for image in images]
    shown = [bool(verdict.anomalies and len(verdict.anomalies) > 1) for verdict in verdicts]
    assert sum(shown[8:]) >= 6 > 2 >= sum(shown[:8])


def test_empty_masks_are_reported(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(8, 8, masks=True)
    unknown = [
        replace(image, mask_colors={"#00FFFF": "dent"}) if image.is_anomalous else image
        for image in images
    ]
    outcome = train(unknown, [], tmp_path, options=PLAIN)
    assert outcome.anomaly_types == ()
    assert any("None of the 8 masks shows a pixel" in warning for warning in outcome.warnings)
    assert Predictor.load(tmp_path).anomaly_types == ()
    images[-1] = replace(images[-1], mask_colors={"#00FFFF": "dent"})
    outcome = train(images, [], tmp_path, options=PLAIN)
    assert [name for name, _ in outcome.anomaly_types] == ["dent", "scratch", "stain"]
    text = "\n".join(outcome.warnings)
    assert (
        "1 of 8 masks shows no pixel in an anomaly type's colour, such as that of plates/15" in text
    )
    assert "Fewer than 5 masks show dent (0), stain (0)" in text


@pytest.mark.parametrize("masks", [False, True])
def test_the_smallest_training_set(make_plates: Make, tmp_path: Path, *, masks: bool) -> None:
    images = make_plates(5, 5, masks=masks, kinds=KINDS)
    options = PLAIN if masks else TrainingOptions()
    outcome = train(images, make_plates(6, 6, first=500), tmp_path, options=options)
    assert any("5 normal and 5 anomalous images are too few" in w for w in outcome.warnings)
    assert len(outcome.evaluated) == 12
    assert all(0.5 <= e.confidence <= 1 - 1 / 12 for e in outcome.evaluated)


def test_mislabelled_twins_and_shortcuts_are_reported(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(12, 12)
    images[-1] = replace(images[0], source_ref="twin.png", is_anomalous=True)
    for image in images[12:-1]:
        with Image.open(image.path) as opened:
            framed = opened.convert("RGB")
        framed.paste((250, 250, 250), (0, 0, 96, 6))
        framed.save(image.path)
    outcome = train(images, [], tmp_path, options=PLAIN)
    text = "\n".join(outcome.warnings)
    assert "labelled normal and anomalous, such as plates/0.png and twin.png" in text
    assert "outer eighth of the images alone" in text


def test_what_cannot_be_trained_on(make_plates: Make, tmp_path: Path) -> None:
    images = make_plates(12, 12)
    with pytest.raises(TrainingError, match="at least 5 normal images; the dataset has 4"):
        train(images[8:], [], tmp_path)
    with pytest.raises(TrainingError, match=r"at least 10 normal .* has 9 normal and 4 anomalous"):
        train(images[3:16], [], tmp_path)
    odd = tmp_path / "odd.png"
    Image.new("RGB", (100, 80)).save(odd)
    with pytest.raises(TrainingError, match=r"2: 96x80 \(24 images.*100x80 \(1 image, .*odd"):
        train([*images, TrainingImage("odd.png", odd, is_anomalous=True)], [], tmp_path)
    with pytest.raises(TrainingError, match=r"test image odd\.png is 100x80"):
        train(images, [TrainingImage("odd.png", odd, is_anomalous=True)], tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[0].path.read_bytes()[:900])
    with pytest.raises(TrainingError, match=r"broken\.png"):
        train([*images, TrainingImage("broken.png", broken, is_anomalous=True)], [], tmp_path)
    with pytest.raises(TrainingError, match=r"gone\.png cannot be read"):
        train([*images, TrainingImage("gone.png", tmp_path / "gone.png", True)], [], tmp_path)


def test_an_image_of_another_size_is_refused(by_labels: tuple[Path, TrainingOutcome]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 96)).save(buffer, "PNG")
    with pytest.raises(ImageRejected, match="trained on 96x80") as refused:
        Predictor.load(by_labels[0]).predict(buffer.getvalue())
    assert refused.value.reason == "dimensions"


def test_a_faint_defect_is_found_in_twelve_bits_too(tmp_path: Path) -> None:
    """Twelve bits in sixteen: the upper eight alone would hold sixteen levels."""

    def plate(seed: int, bad: bool) -> TrainingImage:
        random = np.random.default_rng(seed)
        grey = 120 + random.normal(0, 2, (96, 96)) + random.uniform(-3, 3)
        if bad:
            left, top = random.integers(10, 60, 2)
            grey[top : top + 20, left : left + 24] -= 12
        path = tmp_path / f"{seed}.png"
        Image.fromarray((grey * 16).round().astype(np.uint16)).save(path)
        return TrainingImage(path.name, path, bad)

    images = [plate(seed, bad=seed % 2 == 1) for seed in range(28)]
    test = [plate(seed, bad=seed % 2 == 1) for seed in range(100, 116)]
    outcome = train(images, test, tmp_path / "model")
    assert outcome.recall == 1.0
    assert (outcome.precision or 0) > 0.8
    predictor = Predictor.load(tmp_path / "model")
    said = [predictor.predict(image.path.read_bytes()).is_anomalous for image in test]
    assert said == [one.is_anomalous for one in outcome.evaluated]
