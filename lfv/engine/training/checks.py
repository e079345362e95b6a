"""Warnings about data that make a training's figures unreliable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfv.engine.errors import TrainingError
from lfv.engine.learners import fit_ridge
from lfv.engine.metrics import Bools, auroc
from lfv.engine.training.grouping import Groups, Repeats, distances
from lfv.engine.types import TrainingImage
from lfv.formats.words import count_of, form_of

#: AUROC of the border alone from which a warning is given.
BORDER_AUROC = 0.9
#: The border explains the figures if its AUROC is at most this much below that of whole images.
_NO_WORSE = 0.02
#: (width, height) of the argument of :func:`border_of`.
THUMBNAIL = (64, 64)
#: IoU of an anomaly type that causes a warning if not reached.
_POOR_OVERLAP = 0.3
#: Fewest masks of a type without a warning.
_FEW_MASKS = 5
#: Fewest groups of a class, so that every fold and its complement have images of it.
_LEAST_DIFFERENT = 3
#: Images whose signatures are at least this far apart never count as the same.
_SAME = 0.02
#: That limit as a share of the median distance between nearest normal images.
_CLOSER = 0.3
#: Distance between signatures of the same image that rounding can cause.
_ROUNDING = 1e-3


def border_of(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the outer eighth of a 64 x 64 thumbnail, as means of 8 x 8 squares."""
    cells = thumbnail.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    ring = np.ones((8, 8), dtype=bool)
    ring[1:-1, 1:-1] = False
    means: NDArray[np.float32] = cells[ring].astype(np.float32).ravel()
    return means


def check_variety(repeats: Repeats, truth: Bools) -> None:
    """Refuse images without variety.

    Raises:
        TrainingError: If the images of a class show only one or two different things.
    """
    for label, name in ((False, "normal"), (True, "anomalous")):
        of_class = repeats.groups[truth == label]
        if len(of_class) and len(np.unique(of_class)) < _LEAST_DIFFERENT:
            different = count_of(len(np.unique(of_class)), "different picture")
            raise TrainingError(
                f"The {count_of(len(of_class), name + ' image')} hold {different}: nothing can be "
                f"learned or tested with fewer than {_LEAST_DIFFERENT}."
            )


def find_oddities(
    images: Sequence[TrainingImage],
    repeats: Repeats,
    signatures: NDArray[np.float32],
) -> list[str]:
    """Return warnings about duplicates."""
    truth = np.array([image.is_anomalous for image in images], dtype=bool)
    found = []
    repeated = len(images) - len(np.unique(repeats.groups))
    if repeated:
        found.append(
            f"{repeated} of {len(images)} images nearly {form_of(repeated, 'repeats', 'repeat')} "
            "another. Repeats were kept in the same fold, so the figures are fair, but they add "
            "little."
        )
    if repeats.alike:
        found.append(
            f"{repeats.alike} images are as similar as repeated shots of one part, and too many to "
            "be kept in the same fold. If they are such shots, the figures are better than they "
            "would be on new parts."
        )
    pairs = _mislabelled_pairs(signatures, truth)
    if pairs:
        first, second = (images[i].source_ref for i in pairs[0])
        found.append(
            f"{count_of(len(pairs), 'pair')} of nearly identical images "
            f"{form_of(len(pairs), 'is', 'are')} labelled normal and anomalous, such as {first} "
            f"and {second}. Check the labels."
        )
    return found


def find_shortcut(
    borders: NDArray[np.float32], truth: Bools, folds: Groups, whole: float
) -> Iterator[str]:
    """Yield a warning if the border alone separates the classes about as well as the model does.

    Args:
        borders: The result of :func:`border_of` for each image.
        truth: Whether each image is anomalous.
        folds: The fold of each image.
        whole: AUROC of the model on whole images, out of fold.
    """
    if not truth.any():
        return
    score = _border_auroc(borders, truth, folds)
    if score > BORDER_AUROC and score >= whole - _NO_WORSE:
        yield (
            f"The outer eighth of the images alone tells normal from anomalous (AUROC {score:.2f} "
            f"out of fold), about as well as whole images do ({whole:.2f}): background, lighting "
            "or framing differ between the classes, and the model may have learned that rather "
            "than the defect. Compare the edges of a normal and an anomalous image, and photograph "
            "both classes under the same conditions."
        )


def find_unpainted(
    images: Sequence[TrainingImage],
    types: Sequence[str],
    shares: Sequence[NDArray[np.float16] | None],
) -> Iterator[str]:
    """Yield warnings about masks without the anomaly types of their colour maps.

    Args:
        shares: [classes, rows, columns] for each image; None if its mask is empty.
    """
    masked = [i for i, image in enumerate(images) if image.is_anomalous and image.mask_path]
    blank = [images[i].source_ref for i in masked if shares[i] is None]
    example = f", such as that of {blank[0]}" if blank else ""
    if masked and len(blank) == len(masked):
        none = f"None of the {len(masked)} masks shows a pixel"
        yield (
            f"{form_of(len(masked), 'The only mask shows no pixel', none)} in an anomaly type's "
            f"colour{example}: the model learned from the labels alone. Compare the masks' colours "
            "with those of internal-color-map in the manifest."
        )
        return
    if blank:
        yield (
            f"{len(blank)} of {len(masked)} masks {form_of(len(blank), 'shows', 'show')} no pixel "
            f"in an anomaly type's colour{example}: the model did not learn from these "
            "images where the anomalies are."
        )
    painted = {
        name: sum(bool(parts[number].any()) for parts in shares if parts is not None)
        for number, name in enumerate(types, 1)
    }
    rare = [f"{name} ({count})" for name, count in painted.items() if count < _FEW_MASKS]
    if rare:
        yield (
            f"Fewer than {_FEW_MASKS} masks show {', '.join(rare)}: the model will hardly find "
            "these types, or not at all. Add images of them."
        )


def find_poor_overlaps(labels: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield warnings about anomaly types with a low IoU, from LabelEvaluationResults."""
    for label in labels:
        overlap = label["Metrics"]["IoU"]
        if overlap < _POOR_OVERLAP:
            yield (
                f"Little of what the masks show of {label['Label']} is found (IoU {overlap:.2f} on "
                f"{label['NumberOfTestingImages']} images): don't rely on its outlines and areas."
            )


def _mislabelled_pairs(signatures: NDArray[np.float32], truth: Bools) -> list[tuple[int, int]]:
    normal, anomalous = np.nonzero(~truth)[0], np.nonzero(truth)[0]
    if not len(normal) or not len(anomalous):
        return []
    limit = _SAME
    if len(normal) > 2:
        among = distances(signatures[normal], signatures[normal])
        np.fill_diagonal(among, np.inf)
        # On aligned parts, a small defect changes less than normal parts differ from each other.
        limit = min(limit, _CLOSER * float(np.median(among.min(axis=1))))
    limit = max(limit, _ROUNDING)
    close = np.argwhere(distances(signatures[normal], signatures[anomalous]) < limit)
    return [(int(normal[i]), int(anomalous[j])) for i, j in close]


def _border_auroc(borders: NDArray[np.float32], truth: Bools, folds: Groups) -> float:
    scores = np.zeros(len(truth))
    for fold in np.unique(folds):
        outside = folds == fold
        if truth[~outside].any() and not truth[~outside].all():
            scores[outside] = fit_ridge(borders[~outside], truth[~outside], 0.1)(borders[outside])
    return auroc(truth, scores)
