"""The network, written once for training with torch and for export to ONNX.

An encoder halves the image four times. With masks, a decoder scales the maps back up to the cells
(U-Net; Ronneberger, Fischer, Brox 2015). Without, the maps' maxima and means over the image are
combined to one score.
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
#: Largest side of the images.
MAX_SIDE = 1024
#: Images in one step of training.
BATCH = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Design:
    """The dimensions of a network."""

    #: Width of its images in pixels, a multiple of STRIDE.
    width: int
    height: int
    #: Number of classes, with background; 0 for a score only.
    classes: int

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the logits."""
        return self.height // CELL, self.width // CELL

    @property
    def shapes(self) -> tuple[list[int], list[int]]:
        """Shapes of the ONNX model's input, uint8 images, and of its output."""
        output = [1, self.classes, *self.grid] if self.classes else [1, 1, 1, 1]
        return [1, self.height, self.width, 3], output

    @property
    def is_possible(self) -> bool:
        """Whether the sides are valid."""
        sides = self.width, self.height
        return all(STRIDE <= side <= MAX_SIDE and side % STRIDE == 0 for side in sides)


class Operators(Protocol[T]):
    """The operators of a design; maps are [images, channels, rows, columns]."""

    def conv(self, maps: T, name: str, channels: int, *, stride: int = 1) -> T:
        """Apply a 3x3 convolution, batch normalisation and ReLU."""

    def linear(self, maps: T, name: str, channels: int) -> T:
        """Apply a 1x1 convolution with a bias."""

    def upsample(self, maps: T) -> T:
        """Repeat every cell in both directions."""

    def add_maps(self, first: T, second: T) -> T:
        """Add two maps of the same shape."""

    def concatenate(self, maps: Sequence[T]) -> T:
        """Concatenate the channels of all maps."""

    def max_pool(self, maps: T) -> T:
        """Return maxima over all positions, [images, channels, 1, 1]."""

    def average_pool(self, maps: T) -> T:
        """Return means over all positions, [images, channels, 1, 1]."""


def build(design: Design, image: T, operators: Operators[T]) -> T:
    """Build the network on [images, 3, height, width], RGB from -1 to 1.

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
        pooled = operators.concatenate([operators.max_pool(maps), operators.average_pool(maps)])
        return operators.linear(pooled, "head", 1)
    for number in range(len(WIDTHS) - 2, -1, -1):
        slim = operators.linear(maps, f"slim{number}", WIDTHS[number])
        both = operators.add_maps(levels[number], operators.upsample(slim))
        maps = operators.conv(both, f"up{number}", WIDTHS[number])
    return operators.linear(maps, "head", design.classes)
