"""How much a backbone must improve a model to be kept."""

from __future__ import annotations

import numpy as np
import pytest

from lfv.engine.training.backbone_trial import required_gain, standard_error


def test_the_standard_error_is_that_of_resampled_images() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    areas = []
    for _ in range(600):
        scores = random.normal(0, 1, 40) + 1.2 * truth
        pairs = scores[truth][:, None] > scores[~truth][None]
        areas.append(pairs.mean())
    assert standard_error(float(np.mean(areas)), truth) == pytest.approx(np.std(areas), rel=0.15)


def test_the_fewer_images_the_more_a_backbone_has_to_add() -> None:
    few, many = np.arange(20) % 2 == 0, np.arange(400) % 2 == 0
    assert required_gain(0.8, few) > 2 * required_gain(0.8, many) > 0.01
    assert 0.94 + required_gain(0.94, few) < 1
    assert 0.999 + required_gain(0.999, many) > 1
