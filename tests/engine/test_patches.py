"""A memory of normal patches."""

from __future__ import annotations

import numpy as np
import pytest

from lfv.engine.descriptors import pool
from lfv.engine.metrics import auroc
from lfv.engine.patch_ridge import (
    BUDGET,
    PatchRidge,
    StoredPatches,
    TappedPatches,
    fit_patch_ridge,
)
from lfv.engine.patches import FARTHEST, MIXED, PatchMemory, PlacesHead, fit_patches, patches_of

SHAPES = ((240, 8, 12), (672, 4, 6), (320, 2, 3))


def maps(seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(seed)
    return [random.random(shape, dtype=np.float32) for shape in SHAPES]


def test_an_image_with_an_unusual_patch_is_far() -> None:
    memory, _ = fit_patches([patches_of(maps(seed)) for seed in range(8)])
    odd = maps(100)
    odd[1][:, 2, 3] += 2
    scores = memory(np.stack([patches_of(one) for one in (maps(101), maps(102), odd)]))
    assert scores[2] > scores[:2].max() + 0.1


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_left_out_distances_change_nothing(spread: float) -> None:
    """``spread`` is how far the kept patches that are compared first are from the others."""
    random = np.random.default_rng(int(spread))
    kept = random.standard_normal((900, 8), dtype=np.float32)
    kept[:300] += np.float32(spread)
    whitening = np.eye(MIXED, 8, dtype=np.float32)
    memory = PatchMemory(np.zeros(MIXED, np.float32), whitening, kept)
    patches = np.zeros((400, MIXED), np.float32)
    patches[:, :8] = 2 * random.standard_normal((400, 8), dtype=np.float32)
    distances = np.linalg.norm(patches[:, None, :8] - kept, axis=2).min(axis=1)
    farthest = np.sort(distances)[-round(FARTHEST * len(distances)) :]
    assert memory(patches[None])[0] == pytest.approx(np.log(farthest.mean()), abs=1e-4)


def test_a_stored_memory_gives_the_same_scores() -> None:
    memory, _ = fit_patches([patches_of(maps(seed)) for seed in range(3)])
    again = PatchMemory.from_arrays(memory.to_arrays("x"), "x")
    image = patches_of(maps(9))[None]
    assert image.shape == (1, 24, MIXED)
    assert again(image) == pytest.approx(memory(image), abs=1e-2)


def test_a_patch_in_an_unusual_place_is_far() -> None:
    """Two halves of different brightness, then swapped: no patch is new."""
    left = maps(0)
    for one in left:
        one[:, :, : one.shape[2] // 2] += 2
    images = [
        [one + 0.1 * noise for one, noise in zip(left, maps(seed), strict=True)]
        for seed in range(9)
    ]
    memory, places = fit_patches([patches_of(image) for image in images[:8]])
    turned = [np.flip(one, axis=2).copy() for one in images[8]]
    usual, moved = np.stack([patches_of(images[8])]), np.stack([patches_of(turned)])
    assert places(moved)[0] - places(usual)[0] > 2 * (memory(moved)[0] - memory(usual)[0])
    again = PlacesHead.from_arrays(places.to_arrays("x"), "x")
    assert again(moved) == pytest.approx(places(moved), abs=1e-2)


def test_a_damaged_memory_is_refused() -> None:
    arrays = fit_patches([patches_of(maps(seed)) for seed in range(3)])[0].to_arrays("x")
    with pytest.raises(ValueError, match="needs patches"):
        PatchMemory.from_arrays(arrays | {"x.kept": arrays["x.kept"][:0]}, "x")
    with pytest.raises(KeyError):
        PatchMemory.from_arrays({}, "x")


def test_a_few_anomalous_patches_separate_new_images() -> None:
    random = np.random.default_rng(3)
    kind = random.normal(0, 1, 60)

    def images(count: int, *, is_anomalous: bool) -> list[StoredPatches]:
        found = random.normal(0, 1, (count, 300, 60))
        if is_anomalous:
            found[:, :12] += 0.6 * kind
        return [StoredPatches(one.astype(np.float16)) for one in found]

    truth = np.repeat([False, True], 12)
    known = images(12, is_anomalous=False) + images(12, is_anomalous=True)
    new = images(20, is_anomalous=False) + images(20, is_anomalous=True)
    head = fit_patch_ridge(known, truth)
    scores = head(new)
    assert auroc(np.repeat([False, True], 20), scores) > 0.95
    assert PatchRidge.from_arrays(head.to_arrays("x"), "x")(new) == pytest.approx(scores)


def test_patches_that_are_not_computed_give_the_products_of_stored_ones() -> None:
    weight = np.random.default_rng(1).standard_normal(1232).astype(np.float32)
    stored = StoredPatches.of(maps(0), images=1).project(weight)
    assert TappedPatches(maps(0)).project(weight) == pytest.approx(stored, abs=2e-2)
    assert stored.shape == (24,)


def test_with_many_images_every_nth_patch_is_kept() -> None:
    everything = StoredPatches.of(maps(0), images=1).values
    some = StoredPatches.of(maps(0), images=round(2.5 * BUDGET / everything.size)).values
    assert np.array_equal(some, everything[::3])


def test_a_region_that_stands_out_has_a_contrast_and_a_brighter_image_has_none() -> None:
    plain = maps(0)
    usual = pool(plain).regions
    brighter = pool([one + 1 for one in plain]).regions
    assert brighter == pytest.approx(usual, abs=1e-4)
    plain[0][5, :4, :4] += 1
    changed = pool(plain).regions - usual
    half = len(usual) // 2
    assert list(np.flatnonzero(np.abs(changed[:half]) > 1e-4)) == [5, 240 + 5, 480 + 5]
    assert changed[240 + 5] > 0.5
