"""Images of other sizes brought to the one size that a model takes.

The API wants one size for all images of a model. With a fit, which a training records and its
model's inspections apply, images of other sizes are scaled, their aspect kept to within a tenth,
stretched to whatever aspect, or scaled and cut to the middle. Images of the size itself stay as
they are, byte by byte. The same image always becomes the same bytes.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
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
)

LIMITS = ImageLimits(max_bytes=32 * 1024 * 1024, min_side=16, max_side=8192)
"""What an image that is to be fitted may have."""
MOST_STRETCH = 1.1
"""Ratio of the aspects up to which an image is scaled to another one."""
MOST_CUT = 1.5
"""Ratio of the aspects up to which an image is cut: a third of it is lost then."""
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
        """The fit that a text names as `str` does; None for other texts."""
        found = _TEXT.search(text)
        if found is None:
            return None
        mode = next(mode for mode, done in _DONE.items() if done == found[1])
        return cls(mode, int(found[2]), int(found[3]))

    def image(self, data: bytes) -> tuple[bytes, str | None]:
        """The image at this size, and what was done to it; None where nothing was to be done.

        PNG comes out, or JPEG where that would have more bytes than the service takes. Files that
        are neither PNG nor JPEG come back as they are.

        Raises:
            ImageError: One of its subclasses, for an image that is damaged, too large or too
                small, or whose aspect is too far off.
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
            levels = np.asarray(self._resized(exact, size, box))
            fitted = Image.fromarray(levels.round().clip(0, 65535).astype(np.uint16))
        elif deep is not None:
            raise ImageEncodingUnsupported(
                f"The image is {size[0]}x{size[1]} pixels with 16 bits of each colour, which "
                "cannot be scaled; save it with 8 bits, or as grey."
            )
        else:
            image = decode(header, self._needed(box, size))
            fitted = self._resized(_plain(image), size, box)
        out = io.BytesIO()
        fitted.save(out, "PNG", compress_level=3)
        small, _ = within(out.getvalue(), DEFAULT_LIMITS.max_bytes)
        return small, f"{header.format} of {size[0]}x{size[1]}, {self}"

    def mask(self, png: bytes) -> bytes:
        """A sound mask, a PNG, brought to the same part of the image. No colours are mixed."""
        size = self.width, self.height
        with Image.open(io.BytesIO(png), formats=("PNG",)) as mask:
            if mask.size == size:
                return png
            out = io.BytesIO()
            scaled = mask.resize(size, Image.Resampling.NEAREST, self._box(mask.size))
            scaled.save(out, "PNG", compress_level=3)
        return out.getvalue()

    def _check(self, size: tuple[int, int]) -> None:
        """Raises ImageDimensionsMismatch for an image whose aspect is too far off."""
        width, height = size
        ratio = width * self.height / (height * self.width)
        off = max(ratio, 1 / ratio)
        if self.mode is FitMode.SCALE and off > MOST_STRETCH:
            raise ImageDimensionsMismatch(
                f"The image is {width}x{height} pixels; at the model's {self.width}x{self.height} "
                f"it would be stretched by {off - 1:.0%}. Allow that with `--fit stretch`, or have "
                "what is too much cut off with `--fit crop`."
            )
        if self.mode is FitMode.CROP and off > MOST_CUT:
            raise ImageDimensionsMismatch(
                f"The image is {width}x{height} pixels; cut to the aspect of "
                f"{self.width}x{self.height} it would lose {1 - 1 / off:.0%} of its area. Cut it "
                "beforehand, or allow `--fit stretch`."
            )

    def _box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of an image that is kept: left, top, right, bottom in pixels."""
        width, height = size
        if self.mode is not FitMode.CROP:
            return 0, 0, width, height
        kept_width = min(width, height * self.width / self.height)
        kept_height = min(height, width * self.height / self.width)
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height

    def _needed(
        self, box: tuple[float, float, float, float], size: tuple[int, int]
    ) -> tuple[int, int]:
        """(width, height) that the whole image has to be decoded at."""
        across, down = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
        return round(self.width * across), round(self.height * down)

    def _resized(
        self, image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
    ) -> Image.Image:
        """`image`, of an original `size`, cut to the `box` of that and scaled."""
        across, down = image.width / size[0], image.height / size[1]
        scaled = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        return image.resize((self.width, self.height), Image.Resampling.BILINEAR, scaled)


def done_to(attributes: Mapping[str, object]) -> Fit | None:
    """The fit that an image went through, by its attributes."""
    converted_from = attributes.get(CONVERTED_FROM)
    return Fit.parse(converted_from) if isinstance(converted_from, str) else None


def as_recorded(data: bytes, converted_from: object) -> bytes:
    """The bytes that the model was given, from those of the file.

    Args:
        data: The file.
        converted_from: What is on record of the conversion, in the attribute `CONVERTED_FROM`.

    Raises:
        ImageError: One of its subclasses, for what cannot be converted (any more).
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
    """The (width, height) that images of these sizes are brought to.

    That of at least half of them, where there is one; otherwise their median width and height.
    """
    size, count = Counter(sizes).most_common(1)[0]
    if 2 * count < len(sizes):
        size = median_low(width for width, _ in sizes), median_low(height for _, height in sizes)
    least, most = DEFAULT_LIMITS.min_side, DEFAULT_LIMITS.max_side
    return min(max(size[0], least), most), min(max(size[1], least), most)


def _plain(image: Image.Image) -> Image.Image:
    """In a mode whose samples can be mixed."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "CMYK":
        return image.convert("RGB")
    return image
