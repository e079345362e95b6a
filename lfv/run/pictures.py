"""Pictures of inspections for pages, made from the source, which is never written.

An image is shown only if its SHA-256 is that of the inspection. A manipulated reference therefore
cannot expose any other file.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from PIL import Image

from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError, SourceError
from lfv.formats.fit import convert_as_recorded
from lfv.formats.images import CONVERTED_FROM
from lfv.report import LinkedThumbnail
from lfv.report.marks import draw_heat, draw_marks
from lfv.report.thumbnails import make_thumbnail
from lfv_store import Store, StoredDetection

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
#: Longest side of a thumbnail in pixels: sharp on a card of 240 pixels, and about 10 KB.
SIDE = 320
_LINK = re.compile(
    r'src="[./\w-]*?/(photos/[0-9a-f]{2}/[0-9a-f]{64}-\d+\.jpg|marks/\d+-\d+x\d+\.png)"'
)
_MOST_BYTES = 32 * 1024 * 1024
#: Images that are decoded at a time, each of which may take a few hundred megabytes.
_DECODED_AT_ONCE = 4


class PictureGone(Exception):
    """There is no picture to show. The message says why, and identifies the image."""


@dataclass(frozen=True)
class Picture:
    """An encoded image with its media type."""

    data: bytes
    media_type: str


class Pictures:
    """Images, thumbnails and marks of inspections. Safe to share between threads.

    `folder` caches thumbnails by the digest of the image, and marks by the id of the detection, so
    that all runs share them.
    """

    def __init__(self, store: Store, reader: SourceReader, folder: Path) -> None:
        self._store = store
        self._reader = reader
        self._folder = folder
        self._decoding = BoundedSemaphore(_DECODED_AT_ONCE)

    def image(self, inspection_id: int) -> Picture:
        """Return the inspected image in full size. Raises PictureGone, UnknownInspection."""
        data = self._bytes(self._store.results.get(inspection_id))
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        return Picture(data, kind)

    def cached_thumbnail(self, sha256: str) -> Picture | None:
        """Return the cached thumbnail of an image, or None; needs no database."""
        if not _SHA256.match(sha256):
            return None
        return _read(self._photo(sha256), "image/jpeg")

    def thumbnail(self, inspection_id: int) -> Picture:
        """Return a thumbnail of the image. Raises PictureGone, UnknownInspection."""
        row = self._store.results.get(inspection_id)
        kept = self.cached_thumbnail(row["image_sha256"] or "")
        if kept is not None:
            return kept
        with self._decoding:
            made = make_thumbnail(self._bytes(row), None, (), SIDE)
        if made is None:
            raise PictureGone(f"The image cannot be decoded. {_was(row)}")
        _cache(self._photo(row["image_sha256"]), made.photo)
        return Picture(made.photo, "image/jpeg")

    def marks(self, detection_id: int, size: tuple[int, int]) -> Picture:
        """Return the marks of a detection as a transparent layer.

        `size` must be that of the image or of its thumbnail. Raises PictureGone.
        """
        width, height = size
        file = self._layer(detection_id, width, height)
        kept = _read(file, "image/png")
        if kept is not None:
            return kept
        known = self._store.results.annotations([detection_id]).get(detection_id)
        whole = (0, 0) if known is None else (known.width, known.height)
        if known is None or size not in (whole, fit_size(*whole)):
            raise PictureGone("Marks are drawn in the size of the image or of its thumbnail.")
        mask = self._store.results.mask(detection_id)
        result = DetectAnomalyResult.from_response(self._store.results.response(detection_id))
        line = max(1, round(max(size) / 500))
        layer = draw_marks(mask, [anomaly.color for anomaly in result.defects], size, line)
        if layer is None and mask is None:
            layer = draw_heat(result.anomaly_map, size)
        if layer is None:
            raise PictureGone("The model marked nothing.")
        buffer = io.BytesIO()
        layer.quantize(64).save(buffer, "PNG", optimize=max(size) <= SIDE)
        if max(size) <= SIDE:
            _cache(file, buffer.getvalue())
        return Picture(buffer.getvalue(), "image/png")

    def linked_thumbnail(self, answer: StoredDetection, page: Path) -> LinkedThumbnail | None:
        """Return the files of an image's thumbnail and marks, for `page`; None if impossible.

        Marks them as used now, so that they are kept as long as the page.
        """
        photo = self._photo(answer.image_sha256)
        try:
            self.thumbnail(answer.inspection_id)
            with Image.open(photo) as picture:
                width, height = picture.size
            files = [photo]
            if answer.has_mask:
                self.marks(answer.detection_id, (width, height))
                files.append(self._layer(answer.detection_id, width, height))
            for file in files:
                os.utime(file)
        except (PictureGone, OSError):
            return None
        photo_link, *marks = (Path(os.path.relpath(file, page.parent)).as_posix() for file in files)
        return LinkedThumbnail(photo_link, marks[0] if marks else None, width, height)

    def _layer(self, detection_id: int, width: int, height: int) -> Path:
        return self._folder / "marks" / f"{detection_id}-{width}x{height}.png"

    def _photo(self, sha256: str) -> Path:
        return self._folder / "photos" / sha256[:2] / f"{sha256}-{SIDE}.jpg"

    def _bytes(self, row: Mapping[str, Any]) -> bytes:
        if row["image_sha256"] is None:
            raise PictureGone("The image was never read, so there is nothing to compare it with.")
        try:
            data = self._reader.read_bytes(row["source_ref"], limit=_MOST_BYTES)
            data = convert_as_recorded(data, (row["attributes"] or {}).get(CONVERTED_FROM))
        except (SourceError, LfvError) as error:
            raise PictureGone(f"The image is gone: {error} {_was(row)}") from error
        if hashlib.sha256(data).hexdigest() != row["image_sha256"]:
            raise PictureGone(f"The image was changed since it was inspected. {_was(row)}")
        return data


def with_pictures(page: str, folder: Path) -> str:
    """Embed the pictures that a report links to, for browsers that cannot reach the files."""

    def held(link: re.Match[str]) -> str:
        try:
            data = (folder / link[1]).read_bytes()
        except OSError:
            return link[0]
        kind = "png" if link[1].endswith(".png") else "jpeg"
        return f'src="data:image/{kind};base64,{base64.b64encode(data).decode()}"'

    return _LINK.sub(held, page)


def fit_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of a picture scaled to fit into a square."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _was(row: Mapping[str, Any]) -> str:
    return f"Its SHA-256 was {row['image_sha256']}."


def _read(file: Path, media_type: str) -> Picture | None:
    try:
        return Picture(file.read_bytes(), media_type)
    except OSError:
        return None


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file, and its folders, so that no reader sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    Path(name).replace(file)


def _cache(file: Path, data: bytes) -> None:
    """Cache a picture. If the disk is full, it is made again next time."""
    with suppress(OSError):
        write_atomically(file, data)
