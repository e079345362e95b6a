"""Fits images of other sizes to the one size of a model.

The API requires one size for all images of a model. A fit, recorded by a training and applied by
its model's inspections, brings images of other sizes to it: scaled if the aspect changes by at most
a tenth, stretched to any aspect, or scaled and cut to the middle. Images that already have the size
keep their bytes. The same image always becomes the same bytes.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Self

import numpy as np
from PIL import Image

from lfv.formats.conversion import as_png, at_quality, within
from lfv.formats.deep_samples import deep_samples
from lfv.formats.errors import ImageDimensionsMismatch, ImageEncodingUnsupported
from lfv.formats.fit_mode import FitMode
from lfv.formats.image_headers import sniff
from lfv.formats.images import (
    CONVERTED_FROM,
    DEFAULT_LIMITS,
    ImageLimits,
    check_header,
    decode,
    encoded,
)

#: Limits of the images that can be fitted.
LIMITS = ImageLimits(max_bytes=32 * 1024 * 1024, min_side=16, max_side=8192)
#: Largest ratio of the two aspects at which an image is scaled.
MOST_STRETCH = 1.1
#: Largest ratio of the two aspects at which an image is cut, which loses a third of it.
MOST_CUT = 1.5
_TEXT = re.compile(r"\b(scaled|stretched|cropped) to (\d+)x(\d+)\b")
_QUALITY = re.compile(r"\bnow quality (\d+)\b")


_DONE = {FitMode.SCALE: "scaled", FitMode.STRETCH: "stretched", FitMode.CROP: "cropped"}


@dataclass(frozen=True)
class Fit:
    """A way to bring images to `width` x `height` pixels."""

    mode: FitMode
    width: int
    height: int

    def __str__(self) -> str:
        return f"{_DONE[self.mode]} to {self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the fit described in a string, in the words of `str`; None if there is none."""
        found = _TEXT.search(text)
        if found is None:
            return None
        mode = next(mode for mode, done in _DONE.items() if done == found[1])
        return cls(mode, int(found[2]), int(found[3]))

    def image(self, data: bytes) -> tuple[bytes, str | None]:
        """Fit an image; return it and what was done, None if it is unchanged.

        The result is a PNG, or a JPEG if the PNG would have more bytes than the service accepts.
        Files that are neither PNG nor JPEG are returned unchanged.

        Raises:
            ImageError: One of its subclasses, for an image that is damaged, too large or too
                small, has another aspect, or has 16 bits of each colour.
        """
        if sniff(data) not in {"PNG", "JPEG"}:
            return data, None
        header = check_header(data, LIMITS)
        size = header.width, header.height
        if size == (self.width, self.height):
            return data, None
        self._check(size)
        box = self._box(size)
        deep = deep_samples(header)
        if deep is not None and deep.ndim == 2:
            exact = Image.fromarray(deep.astype(np.float32))
            levels = np.asarray(self._resize(exact, size, box))
            fitted = Image.fromarray(levels.round().clip(0, 65535).astype(np.uint16))
        elif deep is not None:
            raise ImageEncodingUnsupported(
                f"The image is {size[0]}x{size[1]} pixels with 16 bits per channel, which "
                "cannot be scaled; save it with 8 bits per channel, or as greyscale."
            )
        else:
            image = decode(header, self._needed_size(box, size))
            fitted = self._resize(_plain(image), size, box)
        png = encoded(fitted, "PNG", compress_level=3)
        small, _ = within(png, DEFAULT_LIMITS.max_bytes)
        return small, f"{header.format} of {size[0]}x{size[1]}, {self}"

    def mask(self, png: bytes) -> bytes:
        """Fit a valid PNG mask like its image, without mixing colours."""
        size = self.width, self.height
        with Image.open(io.BytesIO(png), formats=("PNG",)) as mask:
            if mask.size == size:
                return png
            scaled = mask.resize(size, Image.Resampling.NEAREST, self._box(mask.size))
            return encoded(scaled, "PNG", compress_level=3)

    def _check(self, size: tuple[int, int]) -> None:
        """Raise ImageDimensionsMismatch if the image's aspect differs too much."""
        width, height = size
        off = _stretch_factor(size, (self.width, self.height))
        if self.mode is FitMode.SCALE and off > MOST_STRETCH:
            crop = ", or crop it with `--fit crop`"
            raise ImageDimensionsMismatch(
                f"The image is {width}x{height} pixels; scaled to {self.width}x{self.height} "
                f"it would be stretched by {off - 1:.0%}. Allow that with `--fit stretch`"
                f"{crop if off <= MOST_CUT else ''}."
            )
        if self.mode is FitMode.CROP and off > MOST_CUT:
            raise ImageDimensionsMismatch(
                f"The image is {width}x{height} pixels; cropped to the aspect ratio of "
                f"{self.width}x{self.height} it would lose {1 - 1 / off:.0%} of its area. Crop it "
                "yourself, or allow `--fit stretch`."
            )

    def _box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the part of an image to keep: left, top, right, bottom in pixels."""
        width, height = size
        if self.mode is not FitMode.CROP:
            return 0, 0, width, height
        kept_width = min(width, height * self.width / self.height)
        kept_height = min(height, width * self.height / self.width)
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height

    def _needed_size(
        self, box: tuple[float, float, float, float], size: tuple[int, int]
    ) -> tuple[int, int]:
        """Return the smallest (width, height) at which the whole image must be decoded."""
        across, down = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
        return round(self.width * across), round(self.height * down)

    def _resize(
        self, image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
    ) -> Image.Image:
        """Cut `image` to `box`, given in pixels of its original `size`, and scale it."""
        across, down = image.width / size[0], image.height / size[1]
        scaled = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        return image.resize((self.width, self.height), Image.Resampling.BILINEAR, scaled)


def recorded_fit(attributes: Mapping[str, object]) -> Fit | None:
    """Return the fit recorded in an image's attributes, None if there is none."""
    converted_from = attributes.get(CONVERTED_FROM)
    return Fit.parse(converted_from) if isinstance(converted_from, str) else None


def convert_as_recorded(data: bytes, converted_from: object) -> bytes:
    """Convert a file again to the bytes that the model received.

    Args:
        data: The file's content.
        converted_from: The recorded conversion, from the attribute `CONVERTED_FROM`.

    Raises:
        ImageError: One of its subclasses, if the file cannot be converted.
    """
    if not isinstance(converted_from, str):
        return data
    data, _ = as_png(data)
    if (fit := Fit.parse(converted_from)) is not None:
        data, _ = fit.image(data)
    if (quality := _QUALITY.search(converted_from)) is not None:
        data = at_quality(data, int(quality[1]))
    return data


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the (width, height) to fit images of these sizes to.

    This is the size of at least half of them, or else their median width and height, within the
    service's limits.
    """
    size, count = Counter(sizes).most_common(1)[0]
    if 2 * count < len(sizes):
        size = median_low(width for width, _ in sizes), median_low(height for _, height in sizes)
    least, most = DEFAULT_LIMITS.min_side, DEFAULT_LIMITS.max_side
    return min(max(size[0], least), most), min(max(size[1], least), most)


def fit_for(sizes: Iterable[tuple[int, int]], size: tuple[int, int]) -> FitMode:
    """Return the least invasive fit of images of these (width, height) to `size`."""
    off = max((_stretch_factor(other, size) for other in sizes), default=1.0)
    if off <= MOST_STRETCH:
        return FitMode.SCALE
    return FitMode.CROP if off <= MOST_CUT else FitMode.STRETCH


def _stretch_factor(size: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the ratio of the aspects of two sizes, 1 or more."""
    ratio = size[0] * other[1] / (size[1] * other[0])
    return max(ratio, 1 / ratio)


def _plain(image: Image.Image) -> Image.Image:
    """Convert an image to a mode whose samples can be interpolated."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "CMYK":
        return image.convert("RGB")
    return image
