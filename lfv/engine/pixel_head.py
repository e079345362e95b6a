"""A small network that predicts, for every cell of the maps, the share that each class covers.

It has two hidden layers on the backbone's features, and is trained with Adam (Kingma, Ba 2015) in
numpy on a class-balanced sample of cells, weighted to restore the true frequencies. It learns the
share of a cell that each class covers in the mask, not just the majority class, so that outlines
can be drawn finer than the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Matrix = NDArray[np.float32]
#: Cells in a step of the training; its first learning rate and its weight decay.
BATCH, RATE, DECAY = 512, 2e-3, 1e-4
TOP_SHARES = (0.0005, 0.002, 0.01, 0.05)


@dataclass(frozen=True)
class PixelSample:
    """Rows of features with classes and weights; the weights sum to the number of cells."""

    #: [rows, channels]
    features: Matrix
    #: [rows, classes], each row's sum 1.
    shares: Matrix
    weights: Matrix

    @classmethod
    def join(cls, parts: Sequence[PixelSample]) -> PixelSample:
        """Join the samples of several images."""
        return cls(
            np.concatenate([p.features for p in parts]),
            np.concatenate([p.shares for p in parts]),
            np.concatenate([p.weights for p in parts]),
        )


def sample_pixels(
    features: NDArray[np.floating],
    shares: NDArray[np.floating],
    per_class: int,
    random: np.random.Generator,
) -> PixelSample:
    """Sample up to ``per_class`` cells of every class present in an image.

    A cell that anomaly types touch counts as the type that covers most of it.

    Args:
        features: [channels, rows, columns], of any precision.
        shares: [classes, rows, columns].
    """
    flat = features.reshape(len(features), -1)
    parts = shares.reshape(len(shares), -1).astype(np.float32)
    touched = np.where(parts[0] < 1, parts[1:].argmax(axis=0) + 1, 0)
    chosen, weights = [], []
    for number in np.unique(touched):
        where = np.nonzero(touched == number)[0]
        take = min(per_class, len(where))
        chosen.append(random.choice(where, take, replace=False))
        weights.append(np.full(take, len(where) / take, dtype=np.float32))
    index = np.concatenate(chosen)
    sampled = flat[:, index].T.astype(np.float32, order="C")
    return PixelSample(sampled, parts[:, index].T.copy(), np.concatenate(weights))


@dataclass(frozen=True)
class PixelHead:
    """Weights of the network; input standardisation is folded into the first layer."""

    layers: tuple[tuple[Matrix, Matrix], ...]

    def __call__(self, features: Matrix) -> Matrix:
        """Map [channels, rows, columns] to logits [classes, rows, columns]."""
        rows, columns = features.shape[1:]
        x = features.reshape(features.shape[0], -1).T
        for number, (weight, bias) in enumerate(self.layers):
            x = x @ weight + bias
            if number + 1 < len(self.layers):
                np.maximum(x, 0, out=x)
        return np.ascontiguousarray(x.T).reshape(-1, rows, columns)

    def with_offsets(self, offsets: Matrix) -> PixelHead:
        """Return a copy with ``offsets``, [classes], added to its logits."""
        *before, (weight, bias) = self.layers
        return PixelHead((*before, (weight, bias + offsets)))


@dataclass(frozen=True)
class Committee:
    """Networks with different initial weights and samples, whose logits are averaged."""

    heads: tuple[PixelHead, ...]

    def __call__(self, features: Matrix) -> Matrix:
        """Map [channels, rows, columns] to logits [classes, rows, columns]."""
        mean: Matrix = np.mean([head(features) for head in self.heads], axis=0)
        return mean

    def with_offsets(self, offsets: Matrix) -> Committee:
        """Return a copy with ``offsets``, [classes], added to its logits."""
        return Committee(tuple(head.with_offsets(offsets) for head in self.heads))


def log_probabilities(logits: Matrix) -> Matrix:
    """Return the log-softmax over the first axis."""
    shifted = logits - logits.max(axis=0)
    result: Matrix = shifted - np.log(np.exp(shifted).sum(axis=0))
    return result


def summarise(logits: Matrix) -> Matrix:
    """Summarise an image's logits in a few values that rise with anomaly.

    These are the mean log-odds over its most anomalous cells (four shares of the image), and the
    log of the area found.
    """
    background = np.minimum(log_probabilities(logits)[0].ravel(), -1e-6)
    odds = np.log1p(-np.exp(background)) - background
    ordered = np.sort(odds)[::-1]
    tops = [ordered[: max(1, round(len(odds) * share))].mean() for share in TOP_SHARES]
    area = np.log((odds > 0).mean() + 1 / len(odds))
    return np.array([*tops, area], dtype=np.float32)


def classes_at(logits: Matrix, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the likeliest class of every pixel at ``size`` (width, height), scaling bilinearly.

    Classes that are the likeliest of no cell are left out, because scaling could make them appear
    between two others.
    """
    if len(logits) == 2:  # scaling is linear: half the work
        above: NDArray[np.uint8] = (_enlarge(logits[1] - logits[0], size) > 0).astype(np.uint8)
        return above
    classes = np.zeros((size[1], size[0]), dtype=np.uint8)
    best = _enlarge(logits[0], size)
    for number in np.unique(logits.argmax(axis=0)).tolist():
        if number:
            plane = _enlarge(logits[number], size)
            classes[plane > best] = number
            np.maximum(best, plane, out=best)
    return classes


def _enlarge(plane: Matrix, size: tuple[int, int]) -> Matrix:
    """Scale ``plane`` to ``size`` (width, height) bilinearly.

    Pillow scales horizontally and numpy vertically, which takes a third of the time of Pillow
    alone.
    """
    width, height = size
    wide = np.asarray(Image.fromarray(plane).resize((width, len(plane)), Image.Resampling.BILINEAR))
    where = (np.arange(height, dtype=np.float32) + 0.5) * len(plane) / height - 0.5
    where = np.clip(where, 0, len(plane) - 1)
    above = np.minimum(where.astype(np.intp), max(len(plane) - 2, 0))
    step = np.diff(wide, axis=0, append=wide[-1:])
    result: Matrix = step[above]
    result *= (where - above).astype(np.float32)[:, None]
    result += wide[above]
    return result


def class_shares(classes: NDArray[np.uint8], count: int) -> list[float]:
    """Return the share of the pixels, 0 to 1, of each of ``count`` classes."""
    # Counting matches is ten times as fast as numpy's histogram of small integers.
    return [np.count_nonzero(classes == number) / classes.size for number in range(count)]


def train_pixel_head(
    sample: PixelSample,
    *,
    random: np.random.Generator,
    hidden: tuple[int, ...],
    epochs: int = 12,
    noise: float = 0.0,
    dropout: float = 0.0,
) -> PixelHead:
    """Minimise the weighted cross-entropy of ``sample``."""
    mean = sample.features.mean(axis=0)
    scale = 1 / (sample.features.std(axis=0) + 1e-6)
    x = np.clip((sample.features - mean) * scale, -8, 8)
    weights = sample.weights / sample.weights.mean()
    weights = np.minimum(weights, np.quantile(weights, 0.995))
    sizes = (x.shape[1], *hidden, sample.shares.shape[1])
    parameters: list[Matrix] = []
    for fan_in, fan_out in pairwise(sizes):
        spread = np.sqrt(2 / fan_in)
        parameters.append((random.standard_normal((fan_in, fan_out)) * spread).astype(np.float32))
        parameters.append(np.zeros(fan_out, dtype=np.float32))
    _adam(parameters, x, sample.shares, weights, random, epochs, noise, dropout)
    first = parameters[0] * scale[:, None]
    parameters[1] = parameters[1] - mean @ first
    parameters[0] = first
    return PixelHead(tuple(zip(parameters[::2], parameters[1::2], strict=True)))


def _adam(
    parameters: list[Matrix],
    x: Matrix,
    shares: Matrix,
    weights: Matrix,
    random: np.random.Generator,
    epochs: int,
    noise: float,
    dropout: float,
) -> None:
    """Train ``parameters``, which become views of one array; the rate falls to zero along a cosine.

    Steps on many small arrays would take as long as the gradients.
    """
    flat = np.concatenate([p.ravel() for p in parameters])
    ends = np.cumsum([p.size for p in parameters])[:-1]
    parameters[:] = [
        part.reshape(p.shape) for part, p in zip(np.split(flat, ends), parameters, strict=True)
    ]
    shrink = np.repeat(
        [10 * DECAY * (p.ndim == 2) for p in parameters], [p.size for p in parameters]
    )
    shrink = shrink.astype(np.float32)
    first, second = np.zeros_like(flat), np.zeros_like(flat)
    per_epoch = -(-len(x) // BATCH)
    total = epochs * per_epoch
    step = 0
    # Noise is taken from random slices of a pool; fresh noise would cost more than the training.
    pool = random.standard_normal((8 * BATCH, x.shape[1] if noise else 0), dtype=np.float32)
    pool *= np.float32(noise)
    for _ in range(epochs):
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            inputs = x[rows]
            if noise:
                begin = int(random.integers(len(pool) - len(rows) + 1))
                inputs = inputs + pool[begin : begin + len(rows)]
            gradients = _gradients(parameters, inputs, shares[rows], weights[rows], random, dropout)
            step += 1
            now = np.float32(RATE * 0.5 * (1 + np.cos(np.pi * step / total)))
            gradient = np.concatenate([one.ravel() for one in gradients])
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            move = first / (1 - 0.9**step)
            move /= np.sqrt(second / (1 - 0.999**step)) + 1e-8
            move += shrink * flat
            flat -= now * move


def _gradients(
    parameters: list[Matrix],
    x: Matrix,
    shares: Matrix,
    weights: Matrix,
    random: np.random.Generator,
    dropout: float,
) -> list[Matrix]:
    activations = [x]
    last = len(parameters) // 2 - 1
    for number in range(last + 1):
        y = activations[-1] @ parameters[2 * number] + parameters[2 * number + 1]
        if number < last:
            y = np.maximum(y, 0)
            if dropout:
                y *= (random.random(y.shape, dtype=np.float32) >= dropout) / np.float32(1 - dropout)
        activations.append(y)
    logits = activations.pop()
    logits = logits - logits.max(axis=1, keepdims=True)
    delta = np.exp(logits)
    delta /= delta.sum(axis=1, keepdims=True)
    delta -= shares
    delta *= (weights / len(x))[:, None]
    gradients: list[Matrix] = []
    for number in range(last, -1, -1):
        source = activations[number]
        gradients += [delta.sum(axis=0), source.T @ delta]
        if number:
            delta = (delta @ parameters[2 * number].T) * (source > 0)
            if dropout:
                delta /= 1 - dropout
    return gradients[::-1]
