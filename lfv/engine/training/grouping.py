"""Groups images that show nearly the same thing, so that no fold separates them.

Public sets and real lines contain parts photographed twice, or one photograph saved twice. An image
in training whose twin is in validation makes any model look good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
#: A group may contain at most one image of a class in this many.
_MOST_OF_CLASS = 4
#: A group with at least this share of a class shows what the class looks like.
_WHOLE_CLASS = 0.8
#: Similar images of classes with fewer images are not reported.
_SMALL_CLASS = 10

Groups = NDArray[np.int64]


def signature(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a normalised thumbnail: [32 * 32] luminance, mean 0, length 1."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values = values - values.mean()
    unit: NDArray[np.float32] = values / (np.linalg.norm(values) + 1e-6)
    return unit


@dataclass(frozen=True)
class Repeats:
    """Groups of images that show nearly the same."""

    #: [images] group numbers.
    groups: Groups
    #: The number of similar images that are not grouped, because a group of so many of a class
    #: would be too large.
    alike: int


def identity(pixels: NDArray[np.uint8]) -> np.int64:
    """Return a number that identifies the pixels."""
    return np.int64(int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:7]))


def near_duplicates(
    signatures: NDArray[np.float32],
    identities: NDArray[np.int64],
    labels: NDArray[np.bool_],
) -> Repeats:
    """Group images that show nearly the same.

    Two images belong together if they differ by less than 0.3 times the distance of most
    images from their nearest neighbour (75th percentile). Correlation alone is not enough, because
    all images of an aligned part correlate at .99. A group of more than a quarter of a class shows
    the product rather than a repetition, so only its identical images stay together.

    Args:
        signatures: [images, values], each of length 1.
        identities: [images] numbers that are the same for images with the same pixels.
        labels: [images] whether each is anomalous.
    """
    _, first, same = np.unique(identities, return_index=True, return_inverse=True)
    identical = first[same]
    parents = np.arange(len(signatures))
    if len(first) > 2:
        distance = distances(signatures[first], signatures[first])
        np.fill_diagonal(distance, np.inf)
        limit = 0.3 * float(np.quantile(distance.min(axis=1), 0.75))
        for i, j in first[np.argwhere(np.triu(distance < limit, 1))].tolist():
            a, b = _root(parents, i), _root(parents, j)
            parents[max(a, b)] = min(a, b)
    groups = np.array([_root(parents, i) for i in identical.tolist()])
    alike = 0
    for number in np.unique(groups):
        members = groups == number
        for label in (False, True):
            of_class = int((labels == label).sum())
            here = int((members & (labels == label)).sum())
            if here > max(2, of_class // _MOST_OF_CLASS):
                groups[members] = identical[members]
                whole = here >= _WHOLE_CLASS * of_class and of_class >= _SMALL_CLASS
                alike += 0 if whole or len(np.unique(identical[members])) == 1 else here
    return Repeats(groups, alike)


def distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances between signatures, [first, second]: 0 for equal, 2 for opposite ones."""
    between: NDArray[np.float32] = np.sqrt(2 - 2 * np.clip(first @ second.T, -1, 1))
    return between


def _root(parents: NDArray[np.int64], node: int) -> int:
    while parents[node] != node:
        node = int(parents[node])
    return node


def assign_folds(
    groups: NDArray[np.int64],
    labels: NDArray[np.bool_],
    folds: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Return each image's fold; groups stay together, and both classes are spread evenly."""
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
