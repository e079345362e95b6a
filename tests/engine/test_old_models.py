"""Models made by release 0.1.0 load, and answer as they did then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lfv.engine import Predictor

DATA = Path(__file__).with_name("data") / "release-0.1.0"
ANSWERS = json.loads((DATA / "answers.json").read_text())


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_an_old_model_answers_as_it_did(kind: str) -> None:
    predictor = Predictor.load(DATA / kind)
    for image, (is_anomalous, confidence, anomalies) in ANSWERS[kind].items():
        found = predictor.predict((DATA / f"{image}.png").read_bytes())
        assert found.is_anomalous == is_anomalous
        assert found.confidence == pytest.approx(confidence, abs=1e-4)
        areas = [(a.name, a.total_percentage_area) for a in found.anomalies or ()]
        assert areas == [(name, pytest.approx(area, abs=1e-4)) for name, area in anomalies]
