"""Figures of merit against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from lfv.engine import calibration, metrics

RANDOM = np.random.default_rng(7)
TRUTH = RANDOM.random(200) < 0.4
SCORES = np.round(TRUTH + RANDOM.normal(0, 1, 200), 1)


def test_auroc_counts_pairs_and_half_the_ties() -> None:
    pairs = SCORES[TRUTH][:, None] - SCORES[~TRUTH][None]
    assert metrics.auroc(TRUTH, SCORES) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_auroc_is_the_area_under_the_curve() -> None:
    fpr, tpr = metrics.roc_curve(TRUTH, SCORES)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auroc(TRUTH, SCORES))
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_one_class_has_no_auroc() -> None:
    assert np.isnan(metrics.auroc(np.ones(3, dtype=bool), np.arange(3.0)))


def test_calibration_error_of_what_is_calibrated() -> None:
    probability = RANDOM.random(20_000)
    truth = RANDOM.random(20_000) < probability
    assert metrics.expected_calibration_error(truth, probability) < 0.02
    assert metrics.expected_calibration_error(truth, np.clip(probability * 2, 0, 1)) > 0.1
    assert metrics.brier(truth, truth.astype(float)) == 0.0


def test_calibrated_probabilities_mean_what_they_say() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, 4000)
    truth = random.random(4000) < 1 / (1 + np.exp(-logits))
    fitted = calibration.fit(truth[:2000], 7 * logits[:2000] + 3)
    probability = fitted(7 * logits[2000:] + 3)
    assert metrics.expected_calibration_error(truth[2000:], probability) < 0.04
    assert (np.diff(fitted(np.linspace(-40, 40, 200))) >= 0).all()


def test_few_images_give_wide_intervals() -> None:
    truth = np.array([0] * 6 + [1] * 6, bool)
    fitted = calibration.fit(truth, np.where(truth, 5.0, -5.0))
    assert fitted(1e9) == pytest.approx(1 - 1 / 14)
    assert fitted(-1e9) == pytest.approx(1 / 14)
    assert calibration.Calibration.from_json(fitted.to_json()) == fitted
