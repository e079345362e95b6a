"""What a user should know before trusting the figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lfv_server.engine.grouping import Groups
from lfv_server.engine.learners import fit_ridge
from lfv_server.engine.metrics import Bools, auroc
from lfv_server.engine.types import TrainingImage

BORDER_AUROC = 0.9
THUMBNAIL = (64, 64)
"""(width, height) that :func:`border_of` takes."""
_SAME = 0.02
"""Distance between signatures below which two images are called the same."""


def border_of(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The outer eighth of a 64 x 64 thumbnail, as means of 8 x 8 squares."""
    cells = thumbnail.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    ring = np.ones((8, 8), dtype=bool)
    ring[1:-1, 1:-1] = False
    means: NDArray[np.float32] = cells[ring].astype(np.float32).ravel()
    return means


def find_oddities(
    images: Sequence[TrainingImage],
    groups: Groups,
    folds: Groups,
    signatures: NDArray[np.float32],
    borders: NDArray[np.float32],
) -> list[str]:
    """Warnings about duplicates and about shortcuts in the pictures."""
    truth = np.array([image.is_anomalous for image in images], dtype=bool)
    found = []
    repeated = len(groups) - len(np.unique(groups))
    if repeated:
        found.append(
            f"{repeated} of {len(images)} images nearly repeat another. They were kept in the same "
            "fold, so the figures are fair, but they add little."
        )
    pairs = _twins(signatures, truth)
    if pairs:
        first, second = (images[i].source_ref for i in pairs[0])
        found.append(
            f"{len(pairs)} pair(s) of nearly identical images are labelled normal and anomalous, "
            f"such as {first} and {second}. Check the labels."
        )
    if truth.any():
        score = _border_auroc(borders, truth, folds)
        if score > BORDER_AUROC:
            found.append(
                f"The outer eighth of the images alone tells normal from anomalous (AUROC "
                f"{score:.2f} out of fold): background, lighting or framing differ between the "
                "classes. The model may have learned that rather than the defect; photograph both "
                "classes under the same conditions."
            )
    return found


def _twins(signatures: NDArray[np.float32], truth: Bools) -> list[tuple[int, int]]:
    normal, anomalous = np.nonzero(~truth)[0], np.nonzero(truth)[0]
    if not len(normal) or not len(anomalous):
        return []
    similarity = np.clip(signatures[normal] @ signatures[anomalous].T, -1, 1)
    close = np.argwhere(np.sqrt(2 - 2 * similarity) < _SAME)
    return [(int(normal[i]), int(anomalous[j])) for i, j in close]


def _border_auroc(borders: NDArray[np.float32], truth: Bools, folds: Groups) -> float:
    scores = np.zeros(len(truth))
    for fold in np.unique(folds):
        outside = folds == fold
        if truth[~outside].any() and not truth[~outside].all():
            scores[outside] = fit_ridge(borders[~outside], truth[~outside], 0.1)(borders[outside])
    return auroc(truth, scores)
