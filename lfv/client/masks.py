"""Reads the masks of an image from files or buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfv.client.sources import SourceReader
from lfv.formats.conversion import as_png
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.masks import check_mask, plain_mask, shows_anomaly


@dataclass(frozen=True)
class ReadMask:
    """A mask's PNG; `ref` is the reference of exactly these bytes, None if they were changed."""

    png: bytes
    ref: str | None


def read_mask(item: ManifestItem, reader: SourceReader) -> ReadMask:
    """Read the mask of an item that has one, combining several masks without a colour map.

    If the reader fits images to a size, the mask is fitted, too. Raises a subclass of SourceError,
    or of ImageError for a mask that is not a valid PNG.
    """
    refs = item.plain_masks or (item.mask_ref or "",)
    read = [reader.read_unfitted(ref) for ref in refs]
    if item.plain_masks:
        png = plain_mask([data for data, _ in read])
    else:
        png = read[0][0]
        check_mask(png)
    if reader.fit is not None:
        png = reader.fit.mask(png)
    is_original = len(read) == 1 and read[0] == (png, None)
    return ReadMask(png, item.mask_ref if is_original else None)


def masks_show_anomaly(refs: Sequence[str], reader: SourceReader) -> bool:
    """Whether any of an image's masks without a colour map shows an anomaly.

    BMP, TIFF and WebP masks are read even if images may not be converted. Raises a subclass of
    SourceError, ImageError for an invalid mask, or MaskColorInvalid for one without background.
    """
    return shows_anomaly([as_png(reader.read_bytes(ref))[0] for ref in refs])
