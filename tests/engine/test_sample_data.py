"""The real images: what the engine must reach on them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.engine import Predictor, TrainingImage, TrainingOutcome, artifact, train


def roc_auc(outcome: TrainingOutcome) -> float:
    metrics = outcome.evaluation["AggregatedEvaluationResults"]["Metrics"]
    return float(metrics["ROCAUC"])


def rows(manifest: Path) -> list[TrainingImage]:
    images = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        path = manifest.parent / row["source-ref"]
        images.append(TrainingImage(row["source-ref"], path, row["anomaly-label"] == 1))
    return images


@pytest.mark.slow
def test_aliens_by_labels_alone(sample_data: Path, tmp_path: Path) -> None:
    training = rows(sample_data / "aliens" / "train.manifest")
    test = rows(sample_data / "aliens" / "test.manifest")
    outcome = train(training, test, tmp_path)
    assert roc_auc(outcome) >= 0.97
    assert outcome.f1 >= 0.88
    backbone = sum(path.stat().st_size for path in tmp_path.glob("backbone*"))
    assert 3_000_000 < backbone < 4_000_000
    assert artifact.size_bytes(tmp_path) - backbone < 5_000_000


@pytest.mark.slow
def test_cookies_by_few_masks(sample_data: Path, tmp_path: Path) -> None:
    manifest = sample_data / "cookies" / "train.manifest"
    images = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        wrong = row["anomaly-label"] == 1
        mask = manifest.parent / row["anomaly-mask-ref"] if wrong else None
        path = manifest.parent / row["source-ref"]
        images.append(TrainingImage(row["source-ref"], path, wrong, mask, {"#23A436": "cracked"}))
    normal = [image for image in images if not image.is_anomalous]
    wrong = [image for image in images if image.is_anomalous]
    few, rest = normal[:10] + wrong[:8], normal[10:16] + wrong[8:16]
    outcome = train(few, rest, tmp_path)
    assert roc_auc(outcome) >= 0.95
    assert outcome.evaluation["LabelEvaluationResults"][0]["Metrics"]["IoU"] >= 0.5
    verdict = Predictor.load(tmp_path).predict(rest[-1].path.read_bytes())
    assert verdict.anomaly_mask is not None
    with Image.open(io.BytesIO(verdict.anomaly_mask)) as mask:
        assert mask.size == (outcome.width, outcome.height)
        colors = {color for _, color in mask.convert("RGB").getcolors() or []}
    assert colors <= {(0x23, 0xA4, 0x36), (255, 255, 255)}
    assert np.isclose(sum(a.total_percentage_area for a in verdict.anomalies), 1.0)
