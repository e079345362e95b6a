"""Training the pixel head, and judging with heads that have not seen the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfv.engine.grouping import Groups
from lfv.engine.metrics import Floats
from lfv.engine.pixel_head import (
    Committee,
    PixelHead,
    PixelSample,
    sample_pixels,
    summarise,
    train_pixel_head,
)
from lfv.engine.refinement import Refiner, with_surroundings

Half = NDArray[np.float16]
Matrix = NDArray[np.float32]
REFINERS = 3
"""Networks of the second pass that are averaged."""
BESIDE, OWN = 3, 2
"""Networks of the first pass that see the backbone's features too, and our own alone."""
ALONE, AMONG = (64, 32), (32, 16)
"""Hidden layers of a network that is the only one, and of one among several."""
STEP = 101
"""Between the seeds of several networks."""
LEAST_OVERLAP = 1 / 3
"""IoU below which a type is favoured no more."""
PER_CLASS = 1200
"""Pixels of each class sampled from an image."""


@dataclass(frozen=True)
class PixelData:
    """One image as the pixel head sees it."""

    features: Half
    """[channels, rows, columns]"""
    shares: Half | None
    """[classes, rows, columns], how much of each cell a class has; None where nobody knows."""


@dataclass(frozen=True)
class PixelResults:
    """What the pixel head says of every image it was not trained on."""

    head: Committee
    """Trained on all images."""
    refiner: Refiner | None
    """The second pass, trained on all images with first passes that had not seen them; None where
    it does not help."""
    logits: tuple[Matrix, ...]
    """Out of fold and refined, [classes, rows, columns] per image."""
    summaries: Matrix
    """[images, values] of the first pass, out of fold."""
    overlap: float
    """:func:`overlap` of the first passes on images that they were not trained on."""


def fit_head(
    data: Sequence[PixelData],
    seed: int,
    channels: int | None = None,
    hidden: tuple[int, int] = ALONE,
) -> PixelHead:
    """Train on every image with known pixels, and on the first ``channels`` only if given."""
    random = np.random.default_rng(seed)
    sample = PixelSample.join(
        [
            sample_pixels(d.features[:channels], d.shares, PER_CLASS, random)
            for d in data
            if d.shares is not None
        ]
    )
    head = train_pixel_head(sample, random=random, hidden=hidden)
    (weight, bias), *layers = head.layers
    unseen = np.zeros((len(data[0].features) - len(weight), weight.shape[1]), np.float32)
    return PixelHead(((np.concatenate([weight, unseen]), bias), *layers))


@dataclass(frozen=True)
class FirstPass:
    """First passes, each image's by networks that were not trained on it."""

    data: Sequence[PixelData]
    folds: Groups
    head: Committee
    """Trained on all images."""
    logits: tuple[Matrix, ...]
    """Out of fold, [classes, rows, columns] per image."""
    overlap: float
    """:func:`overlap` of them."""


def fit_first_pass(
    data: Sequence[PixelData],
    folds: Groups,
    seed: int,
    executor: Executor,
    own: int | None = None,
) -> FirstPass:
    """Fit networks to all images, and to all but those of each fold.

    Where a backbone's features follow ``own`` channels of ours, several networks are averaged, and
    some that see our own alone take part if that raises the IoU out of fold. They gain more than
    a second pass does: on cookies 0.74 instead of 0.72, in half the time.
    """
    count = len(data)
    kinds: list[int | None] = [None] if own is None else [None] * BESIDE + [own] * OWN
    hidden = ALONE if own is None else AMONG
    everything = np.full(count, -1)
    jobs = [
        [
            executor.submit(_fitted, data, parts, fold, seed + STEP * number, channels, hidden)
            for parts, fold in ((everything, 0), *((folds, f) for f in np.unique(folds)))
        ]
        for number, channels in enumerate(kinds)
    ]
    heads: list[PixelHead] = []
    outcomes: list[list[Matrix]] = []
    for of_network in jobs:
        (head, _), *parts = [job.result() for job in of_network]
        heads.append(head)
        unseen = {i: maps for _, found in parts for i, maps in found.items()}
        outcomes.append([unseen[i] for i in range(count)])
    logits = _averaged(outcomes[:BESIDE])
    taken = BESIDE
    if len(outcomes) > BESIDE:
        joined = _averaged(outcomes)
        if overlap(joined, data) >= overlap(logits, data):
            logits, taken = joined, len(outcomes)
    return FirstPass(data, folds, Committee(tuple(heads[:taken])), logits, overlap(logits, data))


def _fitted(
    data: Sequence[PixelData],
    folds: Groups,
    fold: int,
    seed: int,
    channels: int | None,
    hidden: tuple[int, int],
) -> tuple[PixelHead, dict[int, Matrix]]:
    """A network fitted without a fold, and its logits of the images in it."""
    inside = [data[i] for i in np.flatnonzero(folds != fold).tolist()]
    head = fit_head(inside, seed, channels, hidden)
    outside = np.flatnonzero(folds == fold).tolist()
    return head, {i: head(data[i].features.astype(np.float32)) for i in outside}


def _averaged(logits: Sequence[Sequence[Matrix]]) -> tuple[Matrix, ...]:
    return tuple(np.mean(of_image, axis=0) for of_image in zip(*logits, strict=True))


def without_second_pass(first: FirstPass) -> PixelResults:
    """The first pass as it is."""
    added = favours(first.logits, first.data)
    logits = [maps + added[:, None, None] for maps in first.logits]
    return PixelResults(
        first.head.favouring(added),
        None,
        tuple(_favoured(first.logits, first.data, first.folds)),
        np.stack([summarise(maps) for maps in logits]),
        first.overlap,
    )


def refine(first: FirstPass, seed: int, executor: Executor) -> PixelResults:
    """Fit second passes to all images, and to all but those of each fold, and see if they help."""
    data, logits = first.data, first.logits
    final = executor.submit(fit_refiner, data, logits, seed)
    jobs = []
    for fold in np.unique(first.folds):
        inside = np.flatnonzero(first.folds != fold).tolist()
        known, seen = [data[i] for i in inside], [logits[i] for i in inside]
        jobs.append((fold, executor.submit(fit_refiner, known, seen, seed)))
    refined = list(logits)
    for fold, job in jobs:
        for i in np.flatnonzero(first.folds == fold).tolist():
            features = data[i].features.astype(np.float32)
            refined[i] = job.result().from_features(features, logits[i])
    if overlap(refined, data) < first.overlap:
        # A second pass learns from what first passes say of images that they have not seen. If that
        # is mostly wrong, it learns to mistrust them, also where the final one is right.
        return without_second_pass(first)
    return PixelResults(
        first.head,
        final.result().favouring(favours(refined, data)),
        tuple(_favoured(refined, data, first.folds)),
        np.stack([summarise(maps) for maps in logits]),
        first.overlap,
    )


def favours(logits: Sequence[Matrix], data: Sequence[PixelData]) -> Matrix:
    """[classes] what to add to logits that have not seen their images, for the highest IoU.

    That is reached where a cell is called a type from a probability of IoU / (1 + IoU) on: half
    the F1 that can be had (Lipton, Elkan, Naryanaswamy 2014). A quarter at the least, lest areas
    grow where little is certain.
    """
    most = np.maximum(overlaps(logits, data), LEAST_OVERLAP)
    return np.concatenate([[0], -np.log(most)]).astype(np.float32)


def _favoured(
    logits: Sequence[Matrix], data: Sequence[PixelData], folds: Groups
) -> Iterator[Matrix]:
    """Each image's logits, favoured as the other folds say."""
    by_fold = {}
    for fold in np.unique(folds):
        others = np.flatnonzero(folds != fold).tolist()
        by_fold[fold] = favours([logits[i] for i in others], [data[i] for i in others])
    for maps, fold in zip(logits, folds, strict=True):
        yield maps + by_fold[fold][:, None, None]


def overlap(logits: Sequence[Matrix], data: Sequence[PixelData]) -> float:
    """Mean of :func:`overlaps`."""
    return float(overlaps(logits, data).mean())


def overlaps(logits: Sequence[Matrix], data: Sequence[PixelData]) -> Floats:
    """IoU of each anomaly type, its cells pooled over the images whose pixels are known."""
    classes = len(logits[0])
    both, either = np.zeros(classes), np.full(classes, 1e-9)
    for maps, one in zip(logits, data, strict=True):
        if one.shares is None:
            continue
        verdict, truth = maps.argmax(axis=0), one.shares.argmax(axis=0)
        for number in range(1, classes):
            called, true = verdict == number, truth == number
            both[number] += (called & true).sum()
            either[number] += (called | true).sum()
    found: Floats = both[1:] / either[1:]
    return found


def fit_refiner(data: Sequence[PixelData], logits: Sequence[Matrix], seed: int) -> Refiner:
    """Train the second pass on first-pass ``logits`` that have not seen their images."""
    random = np.random.default_rng(seed + 77)
    sample = PixelSample.join(
        [
            sample_pixels(
                with_surroundings(d.features.astype(np.float32), first),
                d.shares,
                PER_CLASS,
                random,
            )
            for d, first in zip(data, logits, strict=True)
            if d.shares is not None
        ]
    )
    heads = [
        train_pixel_head(sample, random=random, hidden=(32, 16), epochs=16, noise=0.1, dropout=0.1)
        for _ in range(REFINERS)
    ]
    return Refiner(tuple(heads))
