"""Masks drawn by people: cleaned, stored by content and recorded with a review."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfv.run.pictures import Pictures, write_atomically
from lfv.run.signing import signature
from lfv.run.verdicts.review import record_digest
from lfv_store import NewReview, Review, Store

#: Colours of new anomaly types, distinct from each other and from white.
PALETTE = ("#1F77B4", "#FF7F0E", "#2CA02C", "#D62728", "#9467BD", "#8C564B", "#E377C2", "#17BECF")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}\Z")
_MOST_TYPES, _LONGEST_NAME = 20, 100
_ROWS = 256
#: Drawings that are decoded at a time; one of 4,096 x 4,096 pixels takes some 200 MB.
_DECODING = BoundedSemaphore(2)
#: Members of a review's `shown`: the drawn mask, and the anomaly type of each of its colours.
MASK_SHA256, MASK_TYPES = "drawn_mask_sha256", "drawn_mask_types"


class MaskRefused(Exception):
    """The drawing is not a mask of this image."""


@dataclass(frozen=True)
class DrawnMask:
    """A mask for training: white background, and one colour for each anomaly type."""

    png: bytes
    #: The drawn anomaly types by colour, ``#RRGGBB``.
    types: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hex."""
        return hashlib.sha256(self.png).hexdigest()


def exact_mask(drawing: bytes, size: tuple[int, int], types: Mapping[str, str]) -> DrawnMask:
    """Convert a drawing with soft edges: each pixel becomes the nearest type or background.

    Args:
        drawing: A PNG with a transparent background.
        size: Width and height of the image in pixels.
        types: Anomaly types by their colours in the drawing, ``#RRGGBB``.

    Raises:
        MaskRefused: The drawing is unreadable or of another size, or a type is unusable.
    """
    if not 0 < len(types) <= _MOST_TYPES:
        raise MaskRefused(f"a mask has 1 to {_MOST_TYPES} anomaly types")
    for color, name in types.items():
        if not _COLOR.match(color) or not 0 < len(name.strip()) <= _LONGEST_NAME:
            raise MaskRefused(f"an anomaly type has a name of 1 to {_LONGEST_NAME} characters")
    try:
        with Image.open(io.BytesIO(drawing), formats=("PNG",)) as picture:
            if picture.size != size:
                raise MaskRefused(f"the mask has to be {size[0]}x{size[1]} pixels, as the image is")
            pixels = np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise MaskRefused("the drawing cannot be read") from None
    names = {color.upper(): name.strip() for color, name in types.items()}
    colors = np.array([list(bytes.fromhex(color[1:])) for color in names], np.int32)
    mask = np.full((*pixels.shape[:2], 3), 255, np.uint8)
    used: set[int] = set()
    for first in range(0, size[1], _ROWS):  # all distances of a large image take a gigabyte
        rows = pixels[first : first + _ROWS]
        drawn = rows[..., 3] > 127
        nearest = _nearest_color(rows[drawn][:, :3], colors)
        mask[first : first + _ROWS][drawn] = colors[nearest]
        used |= set(np.unique(nearest).tolist())
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return DrawnMask(
        buffer.getvalue(),
        {color: name for number, (color, name) in enumerate(names.items()) if number in used},
    )


def _nearest_color(pixels: NDArray[np.uint8], colors: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the index of the colour nearest to each pixel."""
    distances = [((pixels.astype(np.int32) - color) ** 2).sum(axis=-1) for color in colors]
    nearest: NDArray[np.intp] = np.argmin(np.stack(distances), axis=0)
    return nearest


def record_mask(
    store: Store,
    pictures: Pictures,
    folder: Path,
    inspection_id: int,
    drawing: bytes,
    types: Mapping[str, str],
    *,
    reviewer: str,
    comment: str = "",
    token: str | None = None,
    meaning: str | None = None,
) -> Review:
    """Store a drawn mask in `folder` and record a review: rejected, or accepted if it is empty.

    `meaning` is the meaning of a signature; None without one.

    Raises:
        MaskRefused: The drawing is not a mask of the inspected image.
        lfv.run.pictures.PictureGone: The image is missing, so nobody can have drawn on it.
        UnknownInspection: No inspection has this id.
    """
    row = store.results.get(inspection_id)
    with Image.open(io.BytesIO(pictures.image(inspection_id).data)) as image:
        size = image.size
    with _DECODING:
        mask = exact_mask(drawing, size, types)
    write_atomically(mask_file(folder, mask.sha256), mask.png)
    verdict: Literal["accept", "reject"] = "reject" if mask.types else "accept"
    reason, signed = ", ".join(mask.types.values()), None
    if meaning is not None:
        digest = record_digest(row, verdict, reason, comment, mask_sha256=mask.sha256)
        signed = signature(reviewer, meaning, digest)
    return store.reviews.record(
        NewReview(
            inspection_id=inspection_id,
            verdict=verdict,
            reviewer=reviewer,
            comment=comment,
            reason=reason,
            signature=signed,
            shown={
                "image_sha256": row["image_sha256"],
                "detection_id": row["detection_id"],
                "verdict": row["verdict"],
                "overlay": True,
                "blind": False,
                MASK_SHA256: mask.sha256,
                MASK_TYPES: dict(mask.types),
            },
            token=token,
        )
    )


def mask_file(folder: Path, sha256: str) -> Path:
    """Return the path of a drawn mask."""
    return folder / f"{sha256}.png"


def mask_of(review: Review, folder: Path) -> tuple[str, Mapping[str, str]] | None:
    """Return file and types of the mask drawn with a review, or None."""
    shown = review.shown or {}
    sha256, types = shown.get(MASK_SHA256), shown.get(MASK_TYPES)
    if not sha256 or not types:
        return None
    file = mask_file(folder, sha256)
    try:
        kept = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
    return (str(file), types) if kept == sha256 else None
