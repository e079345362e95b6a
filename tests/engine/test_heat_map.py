"""Heat maps: bright where an image differs from the normal ones, else dark."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfv.engine import Predictor
from lfv.engine.heat_map import UsualCells, draw, moments

OLD = Path(__file__).with_name("data") / "release-0.1.0"


def test_an_unusual_place_is_the_hottest() -> None:
    random = np.random.default_rng(0)

    def maps() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return [
            random.normal(5, 2, (8, 12, 16)).astype(np.float32),
            random.normal(0, 1, (4, 6, 8)).astype(np.float32),
        ]

    usual = UsualCells.of(moments(maps()) for _ in range(10))
    odd = maps()
    odd[0][:, 8:11, 3:6] += 6
    again = UsualCells.from_arrays(usual.to_arrays())
    assert again is not None
    heat = again.distances(odd)
    assert heat.shape == (12, 16)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 8 <= row <= 10
    assert 3 <= column <= 5


def test_the_maximum_of_a_drawn_map_is_the_probability_of_an_anomaly() -> None:
    heat = np.zeros((10, 20), dtype=np.float32)
    heat[2, 3] = 7
    for probability in (0.1, 0.9):
        with Image.open(io.BytesIO(draw(heat, probability, (2000, 1000)))) as image:
            assert (image.mode, image.size) == ("L", (256, 128))
            levels = np.asarray(image)
        assert levels.max() == round(255 * probability)
        assert np.median(levels) == 0


@pytest.mark.parametrize("size", [(64, 4096), (100, 70)])
def test_a_constant_map_is_dark(size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(draw(np.ones((3, 4), np.float32), 0.8, size))) as image:
        assert not np.asarray(image).any()


def test_damaged_reference_values_are_refused() -> None:
    for damaged in (np.zeros(3, np.float32), np.ones((2, 3), np.float32)):
        with pytest.raises(ValueError, match="usual cells"):
            UsualCells.from_arrays({"usual.mean": damaged, "usual.deviation": damaged})


def test_models_of_earlier_releases_with_positions_have_maps() -> None:
    kinds = sorted(path for path in OLD.iterdir() if path.is_dir())
    image = next(OLD.glob("*.png")).read_bytes()
    for kind in kinds:
        predictor = Predictor.load(kind)
        assert predictor.predict(image).anomaly_map is None
        found = predictor.predict(image, with_map=True)
        if found.anomalies is not None:
            assert found.anomaly_map is not None
