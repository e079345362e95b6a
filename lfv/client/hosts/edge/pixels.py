"""Converts images to the pixels that an agent accepts, and its masks to PNG."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from lfv.client.errors import HostRejected
from lfv.formats.edge_agent import MAX_SIDE, MIN_SIDE
from lfv.formats.errors import ResponseInvalid
from lfv.formats.images import encoded

_BANDS = 3


def to_rgb888(body: bytes) -> tuple[int, int, bytes]:
    """Decode a PNG or JPEG to (width, height, interleaved RGB888 pixels). Raises HostRejected."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images are refused below
            image: Image.Image = Image.open(io.BytesIO(body), formats=("PNG", "JPEG"))
            width, height = image.size
            if not (min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE):
                raise HostRejected(
                    f"The image is {width}x{height} pixels; an edge agent accepts {MIN_SIDE} "
                    f"to {MAX_SIDE} per side.",
                    operation="DetectAnomalies",
                )
            if image.mode.startswith("I"):
                image = image.point(lambda sample: sample / 256).convert("L")
            return width, height, image.convert("RGB").tobytes()
    except UnidentifiedImageError as error:
        raise HostRejected(
            "The bytes are neither a PNG nor a JPEG.", operation="DetectAnomalies"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise HostRejected(
            f"The image cannot be decoded: {error}.", operation="DetectAnomalies"
        ) from error


def to_png(width: int, height: int, pixels: bytes) -> bytes:
    """Encode a mask of RGB888 pixels as PNG, in the same colours. Raises ResponseInvalid."""
    if width < 1 or height < 1 or len(pixels) != width * height * _BANDS:
        raise ResponseInvalid(
            f"The agent's mask has {len(pixels):,} bytes for {width}x{height} pixels."
        )
    image = Image.frombytes("RGB", (width, height), pixels)
    return encoded(image, "PNG", compress_level=1)
