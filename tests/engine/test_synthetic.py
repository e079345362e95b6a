"""Defects drawn on normal images, and what is learned from them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lfv.engine import TrainingImage, synthetic, train
from lfv.engine import artifact as artifacts
from lfv.engine.ensemble import BACKBONE
from lfv.engine.learners import fit_directed, fit_matched, fit_unusual, head_from_arrays
from lfv.engine.metrics import auroc
from lfv.engine.observations import Observation
from lfv.engine.pretrained.backbone import PretrainedBackbone
from lfv.engine.synthetic import draw_defects, with_defects
from lfv.engine.training.dataset import load, read_training

Values = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
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
    extract = backbone.open()
    described = [
        backbone.describe(extract(load(image, backbone.size).pixels)) for image in data.images
    ]
    plain = [Observation({BACKBONE: one}, None) for one in described]
    monkeypatch.setattr(synthetic, "MOST_COPIES", 18)

    def look(seed: int, threads: int) -> list[Values]:
        with ThreadPoolExecutor(threads) as executor:
            found = with_defects(plain, data, backbone, seed, executor)
        changes = [one.changes for one in found if one.changes is not None]
        return [np.concatenate([one.statistics, one.regions], axis=1) for one in changes]

    first, again, other = look(1, 2), look(1, 1), look(2, 1)
    assert sum(len(one) for one in first) == 18
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert any((one != two).any() for one, two in zip(first, other, strict=True))
    # What copies without defects change: nothing.
    monkeypatch.setattr(synthetic, "draw_defects", lambda pixels, *_: pixels)
    assert not np.concatenate(look(1, 2)).any()


def test_filters_respond_to_what_they_are_matched_to_in_the_noise_of_normal_images() -> None:
    random = np.random.default_rng(4)
    loud = random.normal(0, 1, 300)
    changes = (random.normal(0, 0.5, (2, 300)) + loud).astype(np.float32)

    def images(count: int) -> Values:
        shared = random.normal(0, 3, (count, 1)) * loud
        return (shared + random.normal(0, 1, (count, 300))).astype(np.float32)

    normal, new = images(30), images(40)
    # A sum along the changes is drowned by what normal images have in common, filters are not.
    defective = new + changes[np.arange(40) % 2]
    head = fit_matched(fit_unusual(normal), np.repeat(changes, 8, axis=0))
    assert auroc(np.arange(80) >= 40, head(np.concatenate([new, defective]))) > 0.98
    blunt = np.concatenate([new, defective]) @ changes.T
    assert auroc(np.arange(80) >= 40, blunt.max(axis=1).astype(float)) < 0.9
    again = head_from_arrays(head.to_arrays("head"), "head")
    assert again(new) == pytest.approx(head(new), abs=1e-2)


def test_a_distance_is_measured_along_changes_alone() -> None:
    random = np.random.default_rng(6)
    normal, new = random.normal(0, 1, (2, 30, 300)).astype(np.float32)
    changes = random.normal(0, 1, (12, 300)).astype(np.float32)
    other = random.normal(0, 1, 300).astype(np.float32)
    other -= changes.T @ np.linalg.lstsq(changes.T, other)[0]
    # A sum of changes, in either direction, has no filter of its own, but lies in their space.
    weights = random.choice([-0.3, 0.3], (30, 12)).astype(np.float32)
    unusual = fit_unusual(normal)
    directed = fit_directed(unusual, changes)
    truth = np.arange(60) >= 30
    mixed, elsewhere = (np.concatenate([new, new + one]) for one in (weights @ changes, other))
    assert auroc(truth, directed(mixed)) > 0.98
    assert auroc(truth, unusual(elsewhere)) > 0.98
    assert auroc(truth, directed(elsewhere)) < 0.75
    again = head_from_arrays(directed.to_arrays("head"), "head")
    assert again(new) == pytest.approx(directed(new), abs=1e-2)


@pytest.mark.parametrize("size", [0.0, 1e-3])
def test_changes_that_do_not_show_have_no_filter(size: float) -> None:
    random = np.random.default_rng(5)
    normal, changes = random.normal(0, 1, (2, 12, 40)).astype(np.float32)
    assert np.abs(fit_matched(fit_unusual(normal), size * changes)(normal)).max() < 0.1
    assert np.isfinite(fit_directed(fit_unusual(normal), size * changes)(normal)).all()


def test_models_of_normals_learn_from_them(make_plates: Make, tmp_path: Path) -> None:
    train(make_plates(14, 0), [], tmp_path / "m")
    experts = artifacts.load(tmp_path / "m").model["ensemble"]["experts"]
    assert [one["kind"] for one in experts] == [
        "directed",
        "unusual-contrast",
        "matched-contrast",
        "matched",
    ]
