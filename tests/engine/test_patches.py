"""A memory of normal patches."""

from __future__ import annotations

import numpy as np
import pytest

from lfv.engine.patches import MIXED, PatchMemory, fit_patches, patches_of

SHAPES = ((240, 8, 12), (672, 4, 6), (320, 2, 3))


def maps(seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(seed)
    return [random.random(shape, dtype=np.float32) for shape in SHAPES]


def test_an_image_with_an_unusual_patch_is_far() -> None:
    memory = fit_patches([patches_of(maps(seed)) for seed in range(8)])
    odd = maps(100)
    odd[1][:, 2, 3] += 2
    scores = memory(np.stack([patches_of(one) for one in (maps(101), maps(102), odd)]))
    assert scores[2] > scores[:2].max() + 0.1


def test_a_stored_memory_gives_the_same_scores() -> None:
    memory = fit_patches([patches_of(maps(seed)) for seed in range(3)])
    again = PatchMemory.from_arrays(memory.to_arrays("x"), "x")
    image = patches_of(maps(9))[None]
    assert image.shape == (1, 24, MIXED)
    assert again(image) == pytest.approx(memory(image), abs=1e-2)


def test_a_damaged_memory_is_refused() -> None:
    arrays = fit_patches([patches_of(maps(seed)) for seed in range(3)]).to_arrays("x")
    with pytest.raises(ValueError, match="needs patches"):
        PatchMemory.from_arrays(arrays | {"x.kept": arrays["x.kept"][:0]}, "x")
    with pytest.raises(KeyError):
        PatchMemory.from_arrays({}, "x")
