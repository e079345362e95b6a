"""Which of the found regions are reported as anomalies."""

from __future__ import annotations

import numpy as np
import pytest

from lfv.engine.regions import GAIN, SIZES, TRACE, Regions, learn_regions


def found(*regions: tuple[int, int, int, int], types: int = 2) -> np.ndarray:
    """Logits on 20 x 30 cells: (type, row, column, side of a square) each."""
    logits = np.zeros((types + 1, 20, 30), np.float32)
    logits[0] = 4
    for number, row, column, side in regions:
        logits[number, row : row + side, column : column + side] = 9
    return logits


def areas(logits: np.ndarray) -> list[int]:
    return np.bincount(logits.argmax(axis=0).ravel(), minlength=len(logits))[1:].tolist()


def shares(logits: np.ndarray) -> np.ndarray:
    best = logits.argmax(axis=0)
    return np.stack([best == number for number in range(len(logits))]).astype(np.float16)


def test_regions_and_traces_are_left_out() -> None:
    logits = found((1, 1, 1, 5), (1, 10, 20, 2), (2, 10, 2, 2), (2, 15, 20, 2))
    assert areas(Regions((0, 0), (0, 0))(logits, is_anomalous=True)) == [29, 8]
    assert areas(Regions((5, 0), (0, 0))(logits, is_anomalous=True)) == [25, 8]
    assert areas(Regions((0, 0), (0, 9))(logits, is_anomalous=True)) == [29, 0]
    assert areas(Regions((0, 5), (0, 0))(logits, is_anomalous=False)) == [29, 0]


def test_an_anomalous_image_keeps_its_largest_region() -> None:
    logits = found((1, 1, 1, 2), (2, 10, 2, 3))
    strict = Regions((50, 50), (50, 50))
    assert areas(strict(logits, is_anomalous=True)) == [0, 9]
    assert areas(strict(logits, is_anomalous=False)) == [0, 0]
    nothing = found()
    assert strict(nothing, is_anomalous=True) is nothing


def test_what_is_left_out_is_learned_from_other_folds() -> None:
    """Squares of 25 cells are real, and the single cells beside them are not."""
    random = np.random.default_rng(0)
    truth, logits = [], []
    for _ in range(10):
        real = (1, *random.integers(0, 8, 2).tolist(), 5)
        specks = [(1, 16, column, 2) for column in range(0, 30, 4)]
        truth.append(shares(found(real)))
        logits.append(found(real, *specks))
    called, folds = np.ones(10, dtype=bool), np.arange(10) % 5
    regions, left = learn_regions(logits, [*truth[:-1], None], called, folds)
    assert regions.least[0] in [size for size in SIZES if 4 < size <= 25]
    assert regions.least[1] == 0
    assert regions.traces == (TRACE * 25, 0)
    assert all(areas(maps) == [25, 0] for maps in left)
    assert Regions.from_json(regions.to_json()) == regions


def test_images_called_normal_lose_their_regions_if_that_helps() -> None:
    real, false = found((1, 3, 3, 5)), found((1, 10, 10, 13))
    normal = shares(found())
    called, folds = np.arange(8) % 2 == 0, np.arange(8) % 4
    regions, left = learn_regions(
        [real, false] * 4, [shares(real), normal] * 4, called, np.sort(folds)
    )
    assert not regions.of_normal
    assert [areas(maps) for maps in left[:2]] == [[25, 0], [0, 0]]
    assert Regions.from_json(regions.to_json()) == regions
    missed, _ = learn_regions([real] * 8, [shares(real)] * 8, called, np.sort(folds))
    assert missed.of_normal


def test_nothing_is_left_out_without_a_gain() -> None:
    logits = [found((1, 3, 3, 2)) for _ in range(6)]
    regions, left = learn_regions(
        logits, [shares(maps) for maps in logits], np.ones(6, dtype=bool), np.arange(6) % 3
    )
    assert regions.least == (0, 0)
    assert all(areas(maps) == [4, 0] for maps in left)
    assert GAIN > 0
    unknown, same = learn_regions(logits, [None] * 6, np.ones(6, dtype=bool), np.arange(6) % 3)
    assert unknown == Regions((0, 0), (0, 0))
    assert same[0] == pytest.approx(logits[0])
