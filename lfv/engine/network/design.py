"""What the network computes, written once: torch trains it, and the ONNX model repeats it.

An encoder halves the image four times. With masks a decoder follows it back up to the cells
(U-Net; Ronneberger, Fischer, Brox 2015); without, maxima and means over the image (of what shows
anywhere, and of what it is made of) are weighed into one score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

#: Channels at half the image's size.
STEM = 16
#: Channels at a quarter, an eighth and a sixteenth.
WIDTHS = (32, 48, 64)
#: Pixels across a cell of the logits.
CELL = 4
#: Sides of images are multiples of this.
STRIDE = 16
#: Of the images.
MAX_SIDE = 1024
#: Images in one step of training.
BATCH = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Design:
    """Which network."""

    #: Of the images that it is shown, in pixels; a multiple of STRIDE.
    width: int
    height: int
    #: Background and anomaly types; 0 for a score alone.
    classes: int

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the logits."""
        return self.height // CELL, self.width // CELL

    @property
    def shapes(self) -> tuple[list[int], list[int]]:
        """Of the ONNX model's input, uint8 images, and of its output."""
        output = [1, self.classes, *self.grid] if self.classes else [1, 1, 1, 1]
        return [1, self.height, self.width, 3], output

    @property
    def is_possible(self) -> bool:
        """Whether there can be such a network."""
        sides = self.width, self.height
        return all(STRIDE <= side <= MAX_SIDE and side % STRIDE == 0 for side in sides)


class Operators(Protocol[T]):
    """What a design is made of; maps are [images, channels, rows, columns]."""

    def conv(self, maps: T, name: str, channels: int, *, stride: int = 1) -> T:
        """3x3, normalised, cut at zero."""

    def linear(self, maps: T, name: str, channels: int) -> T:
        """1x1 with a bias."""

    def doubled(self, maps: T) -> T:
        """Every cell twice in both directions."""

    def summed(self, first: T, second: T) -> T:
        """Sums of two of a kind."""

    def joined(self, maps: Sequence[T]) -> T:
        """Channels of all."""

    def highest(self, maps: T) -> T:
        """Maxima over all positions, [images, channels, 1, 1]."""

    def average(self, maps: T) -> T:
        """Means over all positions, [images, channels, 1, 1]."""


def built(design: Design, image: T, operators: Operators[T]) -> T:
    """The network on [images, 3, height, width], RGB from -1 to 1.

    Returns:
        Logits [images, classes, rows, columns], or scores [images, 1, 1, 1].
    """
    maps = operators.conv(image, "stem", STEM, stride=2)
    levels: list[T] = []
    for number, width in enumerate(WIDTHS):
        maps = operators.conv(maps, f"down{number}.0", width, stride=2)
        maps = operators.conv(maps, f"down{number}.1", width)
        levels.append(maps)
    if not design.classes:
        pooled = operators.joined([operators.highest(maps), operators.average(maps)])
        return operators.linear(pooled, "head", 1)
    for number in range(len(WIDTHS) - 2, -1, -1):
        slim = operators.linear(maps, f"slim{number}", WIDTHS[number])
        both = operators.summed(levels[number], operators.doubled(slim))
        maps = operators.conv(both, f"up{number}", WIDTHS[number])
    return operators.linear(maps, "head", design.classes)
