"""Defects drawn on normal images, and what is learned from them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lfv.engine import TrainingImage, synthetic, train
from lfv.engine import artifact as artifacts
from lfv.engine.learners import fit_against
from lfv.engine.observations import Observation
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.synthetic import draw_defects, with_defects
from lfv.engine.training.dataset import read_training

Make = Callable[..., list[TrainingImage]]


@pytest.mark.parametrize("size", [(448, 448), (160, 512), (640, 32), (64, 64)])
def test_defects_change_a_part_of_an_image(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    image, other = random.integers(60, 180, (2, *size, 3)).astype(np.uint8)
    before = image.copy()
    shares = []
    for seed in range(40):
        drawn = draw_defects(image, other, np.random.default_rng(seed))
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert (drawn == draw_defects(image, other, np.random.default_rng(seed))).all()
        shares.append((drawn != image).any(axis=2).mean())
    assert (image == before).all()
    assert np.mean(np.array(shares) > 0) > 0.9
    assert np.median(shares) < 0.25


def test_every_kind_of_defect_shows_on_a_plain_image_and_on_a_varied_one() -> None:
    random = np.random.default_rng(0)
    varied = random.integers(60, 180, (128, 128, 3)).astype(np.uint8)
    plain = np.full_like(varied, 120)
    kinds = synthetic._KINDS
    for number in range(len(kinds)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(synthetic, "_KINDS", kinds[number : number + 1])
            drawn = [draw_defects(varied, plain, np.random.default_rng(s)) for s in range(9)]
        assert sum((one != varied).sum() > 30 for one in drawn) >= 8, number


def test_copies_are_the_same_for_a_seed_and_limited_in_all(
    make_plates: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = read_training(make_plates(12, 0))
    backbone = PretrainedBackbone.for_images(data.width, data.height)
    plain = [Observation({}, None)] * 12
    monkeypatch.setattr(synthetic, "MOST_COPIES", 18)

    def look(seed: int, threads: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        with ThreadPoolExecutor(threads) as executor:
            found = with_defects(plain, data, backbone, seed, executor)
        return [one.defective for one in found if one.defective is not None]

    first, again, other = look(1, 2), look(1, 1), look(2, 1)
    assert sum(len(one) for one in first) == 18
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert any((one != two).any() for one, two in zip(first, other, strict=True))


def test_few_normal_values_count_as_much_as_many_others() -> None:
    random = np.random.default_rng(4)
    away = random.normal(0, 1, 50)
    normal, new = random.normal(0, 1, (2, 20, 50)).astype(np.float32)
    others = (random.normal(0, 1, (200, 50)) + away).astype(np.float32)
    head = fit_against(normal, others, 0.3)
    assert head(new + away.astype(np.float32)).min() > head(new).max()
    assert head(normal).mean() == pytest.approx(-head(others).mean(), rel=0.2)


def test_models_of_normals_learn_from_them(make_plates: Make, tmp_path: Path) -> None:
    train(make_plates(14, 0), [], tmp_path / "m")
    experts = artifacts.load(tmp_path / "m").model["ensemble"]["experts"]
    assert [one["kind"] for one in experts] == [
        "unusual",
        "unusual-contrast",
        "synthetic",
        "places",
    ]
