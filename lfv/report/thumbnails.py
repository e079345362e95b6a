"""Thumbnails: a reduced image, and its marks as a separate layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from lfv.formats.images import encoded
from lfv.report.marks import draw_marks, open_picture
from lfv.report.run_values import ReportImage

_QUALITY = 80
_THREADS = 4
#: Longest side in pixels by the number of pictures: a report has to fit into a mail.
_SIDES = ((150, 400), (600, 280), (2500, 200))
_SMALLEST = 144


@dataclass(frozen=True)
class Thumbnail:
    """An image as JPEG, and its marks as PNG; `width` and `height` in pixels."""

    photo: bytes
    marks: bytes | None
    width: int
    height: int


@dataclass(frozen=True)
class LinkedThumbnail:
    """A thumbnail stored in files next to the page: their relative addresses, and their size."""

    photo: str
    marks: str | None
    width: int
    height: int


#: Finds the files of an image's thumbnail; None if there are none.
Linker = Callable[[ReportImage], LinkedThumbnail | None]


def side_for(pictures: int) -> int:
    """Return the longest side of a thumbnail, in pixels, if a page has this many pictures."""
    return next((side for most, side in _SIDES if pictures <= most), _SMALLEST)


def make_thumbnails(images: Iterable[ReportImage]) -> dict[int, Thumbnail]:
    """Return thumbnails by line number; images that cannot be read have none.

    Uses threads, because most of the time goes into fetching and decoding.
    """
    images = list(images)
    side = side_for(len(images))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails") as pool:
        made = pool.map(lambda image: (image.line_number, _thumbnail(image, side)), images)
        return {line: thumbnail for line, thumbnail in made if thumbnail is not None}


def find_thumbnails(images: Iterable[ReportImage], linker: Linker) -> dict[int, LinkedThumbnail]:
    """Return thumbnails as files, by line number: those that exist and those that can be made."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails") as pool:
        found = pool.map(lambda image: (image.line_number, linker(image)), images)
        return {line: thumbnail for line, thumbnail in found if thumbnail is not None}


def _thumbnail(image: ReportImage, side: int) -> Thumbnail | None:
    if image.read is None:
        return None
    try:
        data = image.read()
    except Exception:  # noqa: BLE001 - an image that is gone costs its picture, not the report
        return None
    return make_thumbnail(data, image.mask_png, [one.color for one in image.anomalies], side)


def make_thumbnail(
    data: bytes, mask_png: bytes | None, colors: Iterable[str | None], side: int
) -> Thumbnail | None:
    """Return a thumbnail with sides of at most `side` pixels; None if Pillow cannot read `data`."""
    picture = open_picture(data, side)
    if picture is None:
        return None
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    layer = draw_marks(mask_png, colors, picture.size)
    marks = None if layer is None else encoded(layer.quantize(64), "PNG", optimize=True)
    return Thumbnail(encoded(picture, "JPEG", quality=_QUALITY), marks, *picture.size)
