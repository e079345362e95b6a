"""Trains a design's weights with torch. No other module imports torch.

Torch's global random generator is not used, and every job limits torch to one thread. So several
jobs can run at once, and a result depends only on the images and the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lfv.engine.network.design import BATCH, CELL, Design, build

Pixels = NDArray[np.uint8]
RATE = 3e-3
#: Weight decay, relative to the rate (AdamW; Loshchilov, Hutter 2019).
DECAY = 0.02
#: Share of the steps over which the rate rises; it then falls along half a cosine.
WARM_UP = 0.1
MOMENTUM = 0.1
EPSILON = 1e-5
#: Decay of the moving average of the weights at each step.
AVERAGED = 0.98
#: Largest shift (share of the sides), scaling and rotation (radians) of an image.
SHIFT, SCALE, TURN = 0.06, 0.12, 0.12
#: Standard deviations of brightness, of contrast, and of each colour's brightness.
LIGHT, CONTRAST, TINT = 0.15, 0.15, 0.05


class _Tensors:
    """The operators of a design on tensors; weights are created on first use."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self.learned: dict[str, Any] = {}
        #: Means and variances of normalised layers.
        self.running: dict[str, Any] = {}
        self.learning = True
        self.momentum = MOMENTUM

    def _weight(self, name: str, outputs: int, inputs: int, side: int) -> Any:
        if f"{name}.weight" not in self.learned:
            shape = outputs, inputs, side, side
            spread = (2 / (inputs * side * side)) ** 0.5
            drawn = torch.randn(shape, generator=self._random) * spread
            self.learned[f"{name}.weight"] = drawn.requires_grad_()
            self.learned[f"{name}.bias"] = torch.zeros(outputs, requires_grad=True)
        return self.learned[f"{name}.weight"]

    def conv(self, maps: Any, name: str, channels: int, *, stride: int = 1) -> Any:
        weight = self._weight(name, channels, maps.shape[1], 3)
        if f"{name}.gain" not in self.learned:
            self.learned[f"{name}.gain"] = torch.ones(channels, requires_grad=True)
            self.running[f"{name}.mean"] = torch.zeros(channels)
            self.running[f"{name}.variance"] = torch.ones(channels)
        maps = functional.conv2d(maps, weight, stride=stride, padding=1)
        maps = functional.batch_norm(
            maps,
            self.running[f"{name}.mean"],
            self.running[f"{name}.variance"],
            self.learned[f"{name}.gain"],
            self.learned[f"{name}.bias"],
            self.learning,
            self.momentum,
            EPSILON,
        )
        return functional.relu(maps)

    def linear(self, maps: Any, name: str, channels: int) -> Any:
        weight = self._weight(name, channels, maps.shape[1], 1)
        return functional.conv2d(maps, weight, self.learned[f"{name}.bias"])

    def upsample(self, maps: Any) -> Any:
        return functional.interpolate(maps, scale_factor=2, mode="nearest")

    def add_maps(self, first: Any, second: Any) -> Any:
        return first + second

    def concatenate(self, maps: Sequence[Any]) -> Any:
        return torch.cat(list(maps), dim=1)

    def max_pool(self, maps: Any) -> Any:
        return maps.amax(dim=(2, 3), keepdim=True)

    def average_pool(self, maps: Any) -> Any:
        return maps.mean(dim=(2, 3), keepdim=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread in threads that start meanwhile; restore the limit afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learn(
    design: Design,
    images: Sequence[Pixels],
    truth: NDArray[np.bool_],
    labels: Sequence[Pixels] | None,
    steps: int,
    seed: int,
    on_step: Callable[[], None],
) -> dict[str, NDArray[np.float32]]:
    """Return weights of ``design``, with its normalisation folded into them.

    Args:
        images: Uint8 [height, width, 3] of the design's size.
        labels: Classes of their pixels, uint8 [height, width]; None if the design has no classes.
        on_step: Called after every step.
    """
    torch.set_num_threads(1)  # applies to this thread only
    random = np.random.default_rng(seed)
    tensors = _Tensors(seed)
    target = torch.from_numpy(truth.astype(np.float32))
    with torch.no_grad():
        build(design, _to_floats(_batch(images, [0])), tensors)  # creates the weights
    names = list(tensors.learned)
    optimiser = torch.optim.AdamW(tensors.learned.values(), lr=RATE, weight_decay=DECAY)
    averaged = {name: tensors.learned[name].detach().clone() for name in names}
    # Normal images teach less about masks.
    order = _order(truth, (1, 1) if labels is None else (2, 1), steps * BATCH, random)
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH].tolist()
        for group in optimiser.param_groups:
            group["lr"] = RATE * _share_of_rate(step / steps)
        known = None if labels is None else _batch([labels[i][..., None] for i in rows])
        batch, known = _augment(_batch(images, rows), known, random)
        found = build(design, batch, tensors)
        if known is None:
            loss = functional.binary_cross_entropy_with_logits(found.flatten(), target[rows])
        else:
            loss = _paint_loss(found, _shares(known, design.classes))
        if torch.isfinite(loss):  # otherwise this step would spoil all weights
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            kept = min(AVERAGED, (1 + step) / (10 + step))
            for name in names:
                averaged[name].lerp_(tensors.learned[name], 1 - kept)
        on_step()
    tensors.learned = averaged
    with torch.no_grad():
        for number, rows in enumerate(np.array_split(order[: 8 * BATCH], 8)):
            tensors.momentum = 1 / (1 + number)  # the mean over all batches
            build(design, _augment(_batch(images, rows.tolist()), None, random)[0], tensors)
    return _fold_normalisation(tensors)


def _share_of_rate(done: float) -> float:
    if done < WARM_UP:
        return (done + 0.01) / (WARM_UP + 0.01)
    return 0.5 * (1 + float(np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP))))


def _order(
    truth: NDArray[np.bool_], mixed: tuple[int, int], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the order of the images; if ``mixed``, anomalous and normal ones alternate.

    Each class is shuffled anew after all its images were used.
    """
    turns = -(-count // sum(mixed))
    columns = []
    for kind, share in zip((True, False), mixed, strict=True):
        members = np.flatnonzero(truth == kind)
        if len(members):
            rounds = [random.permutation(members) for _ in range(turns * share // len(members) + 1)]
            columns.append(np.concatenate(rounds)[: turns * share].reshape(turns, share))
    order = np.concatenate(columns, axis=1).ravel()
    return np.resize(order, count)


def _batch(images: Sequence[Pixels], rows: Sequence[int] | None = None) -> Any:
    """Return uint8 [images, channels, height, width]."""
    chosen = images if rows is None else [images[i] for i in rows]
    return torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2)


def _to_floats(pixels: Any) -> Any:
    return pixels.float() / 127.5 - 1


def _shares(labels: Any, classes: int) -> Any:
    """Map classes [images, 1, height, width] to shares [images, classes, rows, columns]."""
    return torch.cat(
        [functional.avg_pool2d((labels == n).float(), CELL) for n in range(classes)], dim=1
    )


def _augment(pixels: Any, labels: Any, random: np.random.Generator) -> tuple[Any, Any]:
    """Flip, scale, rotate and shift images with their labels, and vary brightness and contrast."""
    count = len(pixels)
    image = _to_floats(pixels)
    height, width = image.shape[2:]
    flips = random.choice([-1.0, 1.0], (count, 2))
    scale = np.exp(random.uniform(-SCALE, SCALE, count))
    turn = random.uniform(-TURN, TURN, count)
    cos, sin, aspect = np.cos(turn) * scale, np.sin(turn) * scale, height / width
    shift = random.uniform(-SHIFT, SHIFT, (count, 2))
    rows = [[cos * flips[:, 0], -sin * aspect, shift[:, 0]], [sin / aspect, cos, shift[:, 1]]]
    rows[1] = [rows[1][0] * flips[:, 0], cos * flips[:, 1], shift[:, 1]]
    rows[0][1] = rows[0][1] * flips[:, 1]
    turned = torch.from_numpy(np.stack([np.stack(r, axis=1) for r in rows], axis=1)).float()
    grid = functional.affine_grid(turned, image.shape, align_corners=False)
    image = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    if labels is not None:
        labels = functional.grid_sample(
            labels.float(), grid, mode="nearest", padding_mode="border", align_corners=False
        )
    contrast = np.exp(random.normal(0, CONTRAST, (count, 1, 1, 1)))
    light = random.normal(0, LIGHT, (count, 1, 1, 1)) + random.normal(0, TINT, (count, 3, 1, 1))
    image = image * torch.from_numpy(contrast).float() + torch.from_numpy(light).float()
    return image.clamp(-1, 1), labels


def _paint_loss(logits: Any, target: Any) -> Any:
    """Return cross-entropy plus one minus the soft Dice coefficient of the types in the batch.

    The first term calibrates probabilities, the second favours rare types (Milletari 2016).
    """
    logs = functional.log_softmax(logits, dim=1)
    entropy = -(target * logs).sum(dim=1).mean()
    found, wanted = logs.exp()[:, 1:], target[:, 1:]
    both = (found * wanted).sum(dim=(0, 2, 3))
    either = found.sum(dim=(0, 2, 3)) + wanted.sum(dim=(0, 2, 3))
    return entropy + (1 - (2 * both + 1) / (either + 1)).mean()


def _fold_normalisation(tensors: _Tensors) -> dict[str, NDArray[np.float32]]:
    """Return weights and biases only, because y = gain (Wx - mean) / deviation + bias is linear."""
    learned = {name: value.detach().numpy() for name, value in tensors.learned.items()}
    result: dict[str, NDArray[np.float32]] = {}
    for name in (name.removesuffix(".weight") for name in learned if name.endswith(".weight")):
        weight, bias = learned[f"{name}.weight"], learned[f"{name}.bias"]
        if f"{name}.gain" in learned:
            mean, variance = (tensors.running[f"{name}.{n}"].numpy() for n in ("mean", "variance"))
            gain = learned[f"{name}.gain"] / np.sqrt(variance + EPSILON)
            weight, bias = weight * gain[:, None, None, None], bias - mean * gain
        result[f"{name}.weight"] = weight.astype(np.float32)
        result[f"{name}.bias"] = bias.astype(np.float32)
    return result
