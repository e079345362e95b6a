"""Reading the masks of an image, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lfv.client.sources import SourceReader
from lfv.formats.conversion import as_png
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.masks import check_mask, plain_mask, shows_anomaly


@dataclass(frozen=True)
class ReadMask:
    """A mask's PNG; `ref` is where these very bytes are, None if they were converted."""

    png: bytes
    ref: str | None


def read_mask(item: ManifestItem, reader: SourceReader) -> ReadMask:
    """The mask of an item that has one; several masks without a colour map become one.

    Where the reader fits images to a size, the mask is fitted too.

    Raises SourceError's subclasses, and ImageError's for what is not a sound PNG.
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
    """Whether any mask of an image, without a colour map, is not empty.

    To look, a BMP, TIFF or WebP is read too, whether or not images may be converted.

    Raises SourceError's subclasses, and ImageError's for what is not a sound mask.
    """
    return shows_anomaly([as_png(reader.read_bytes(ref))[0] for ref in refs])
