"""Which images show nearly the same thing, so that they never sit on both sides of a fold.

Public sets (and real lines) hold the same part photographed twice, or one shot saved twice.  An
image in training whose twin is in validation makes any model look good.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32

Groups = NDArray[np.int64]


def signature(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A normalised thumbnail: [32 * 32] luminance, mean 0, length 1."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values = values - values.mean()
    unit: NDArray[np.float32] = values / (np.linalg.norm(values) + 1e-6)
    return unit


def near_duplicates(signatures: NDArray[np.float32], *, strictness: float = 0.3) -> Groups:
    """Group number of each image.

    Two images belong together when they differ less than ``strictness`` times what most images
    differ from their nearest neighbour (75th percentile).  Correlation alone cannot tell, because
    all images of an aligned part correlate at .99.  A group of more than a quarter of all images
    is no longer a repetition but the product itself, and is left apart.

    :param signatures: [images, values], each of length 1.
    """
    count = len(signatures)
    similarity = np.clip(signatures @ signatures.T, -1, 1)
    distance = np.sqrt(np.maximum(0, 2 - 2 * similarity))
    np.fill_diagonal(distance, np.inf)
    parents = np.arange(count)
    if count > 2:
        limit = strictness * float(np.quantile(distance.min(axis=1), 0.75))
        for i, j in zip(*np.nonzero(np.triu(distance < limit, 1)), strict=True):
            a, b = _root(parents, int(i)), _root(parents, int(j))
            parents[max(a, b)] = min(a, b)
    groups = np.array([_root(parents, i) for i in range(count)])
    sizes = np.bincount(groups, minlength=count)
    apart = sizes[groups] > max(2, count // 4)
    return np.where(apart, np.arange(count), groups)


def _root(parents: NDArray[np.int64], node: int) -> int:
    while parents[node] != node:
        node = int(parents[node])
    return node


def grouped_folds(
    groups: NDArray[np.int64],
    labels: NDArray[np.bool_],
    folds: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Fold number of each image: groups stay whole, both classes spread evenly."""
    numbers = np.unique(groups)
    order = random.permutation(len(numbers))
    sizes = np.array([(groups == numbers[i]).sum() for i in order])
    order = order[np.argsort(-sizes, kind="stable")]
    load = np.zeros((folds, 2))
    result = np.empty(len(groups), dtype=np.int64)
    for i in order:
        members = groups == numbers[i]
        counts = np.array([(members & ~labels).sum(), (members & labels).sum()])
        cost = [((load[f] + counts) ** 2).sum() - (load[f] ** 2).sum() for f in range(folds)]
        best = int(np.argmin(cost))
        load[best] += counts
        result[members] = best
    return result
