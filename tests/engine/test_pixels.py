"""Several pixel networks with a backbone: which are used, and how a model runs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lfv.engine.backbone import Painter, Reducer
from lfv.engine.pixels import (
    BESIDE,
    OWN,
    FirstPass,
    PixelData,
    fit_first_pass,
    without_second_pass,
)

OURS, THEIRS, SIDE = 3, 4, 12


def first_pass(*, ours_tell: bool) -> FirstPass:
    """Ten small images with a square each, which one of their channels shows through noise."""
    random = np.random.default_rng(0)
    data = []
    for number in range(10):
        shares = np.zeros((2, SIDE, SIDE), np.float16)
        shares[1, 3:9, number % 6 : number % 6 + 5] = 1
        shares[0] = 1 - shares[1]
        features = random.standard_normal((OURS + THEIRS, SIDE, SIDE)).astype(np.float32)
        features[0 if ours_tell else OURS] += 4 * shares[1]
        data.append(PixelData(features.astype(np.float16), shares))
    with ThreadPoolExecutor(2) as executor:
        return fit_first_pass(data, np.arange(10) % 5, 0, executor, OURS)


@pytest.mark.parametrize("ours_tell", [True, False])
def test_networks_on_the_engines_own_features_are_used_where_they_help(*, ours_tell: bool) -> None:
    first = first_pass(ours_tell=ours_tell)
    assert len(first.head.heads) == (BESIDE + OWN if ours_tell else BESIDE)
    results = without_second_pass(first)
    assert results.refiner is None
    assert results.overlap == first.overlap > 0.2
    assert results.summaries.shape == (10, 5)


def test_a_painter_runs_all_networks_at_once_and_can_be_stored() -> None:
    head = without_second_pass(first_pass(ours_tell=True)).head
    random = np.random.default_rng(1)
    own = random.standard_normal((OURS, SIDE, SIDE)).astype(np.float32)
    maps = [random.standard_normal((THEIRS, SIDE // 2, SIDE // 2)).astype(np.float32)]
    reducer = Reducer.of([np.zeros((1, THEIRS), np.float32)], (SIDE, SIDE))
    assert not reducer.mixes
    painter = Painter(reducer, head, np.empty((OURS + THEIRS, 0), np.float32))
    logits, projected = painter(own, maps)
    assert projected.shape == (0, SIDE, SIDE)
    wanted = head(np.concatenate([own, reducer(maps)]))
    assert np.allclose(logits, wanted, atol=1e-4)
    stored = Painter.from_arrays(painter.to_arrays())
    assert stored is not None
    assert np.array_equal(stored(own, maps)[0], logits)


def test_a_reducer_keeps_the_directions_in_which_many_channels_vary() -> None:
    random = np.random.default_rng(2)
    directions = np.linalg.qr(random.standard_normal((300, 20)))[0].T
    maps = []
    for channels in (100, 300):
        sources = 5 * random.standard_normal((500, 20))
        noise = random.standard_normal((500, channels)) / 200
        maps.append((sources @ directions[:, :channels] + 7 + noise).astype(np.float32))
    reducer = Reducer.of(maps, (20, 25))
    assert [mix.shape for mix in reducer.mixes] == [(100, 20), (300, 20)]  # not 32 and 96
    reduced = reducer([rows.T.reshape(-1, 20, 25) for rows in maps]).reshape(40, -1)
    for rows, parts in zip(maps, (reduced[:20], reduced[20:]), strict=True):
        known = parts.T - parts.T.mean(axis=0)
        centred = rows - rows.mean(axis=0)
        rest = centred - known @ np.linalg.lstsq(known, centred, rcond=None)[0]
        assert rest.std() < 0.006
        assert (np.diff(known.std(axis=0)) < 1e-3).all()  # the widest first
