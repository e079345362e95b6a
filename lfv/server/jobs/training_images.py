"""Copies a training's images from their buckets into the training's folder."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfv.formats.errors import ImageDamaged, ImageError
from lfv.formats.images import ENDINGS, check_header
from lfv.formats.manifest.records import LineError
from lfv.formats.masks import check_mask
from lfv.server.daemon_threads import Threads
from lfv.server.errors import BucketError
from lfv.server.jobs.context import JobContext
from lfv.server.manifests import Entry, location, stored_entry
from lfv.server.write_retries import ServiceEndingError

_PARALLEL = 4
#: Bytes that stay free on the disk, but at most a tenth of the disk.
_MARGIN = 64 << 20
#: After this many images, their mean size predicts the rest within a factor of two.
_ENOUGH_TO_TELL = 20


@dataclass(frozen=True)
class FetchedImage:
    source_ref: str
    line: str
    path: Path
    is_anomalous: bool
    mask_path: Path | None
    #: Anomaly type by ``#RRGGBB``.
    mask_colors: dict[str, str]
    #: Of the image's bytes.
    sha256: str


@dataclass(frozen=True)
class Fetched:
    images: tuple[FetchedImage, ...]
    #: One sentence for each image that could not be fetched.
    problems: tuple[str, ...]

    def without(self, damaged: Mapping[str, str]) -> Fetched:
        """Return a copy with damaged images as problems. ``damaged`` has reasons by source-ref."""
        sound = tuple(image for image in self.images if image.source_ref not in damaged)
        return Fetched(sound, (*self.problems, *(f"{ref}: {why}" for ref, why in damaged.items())))


class NoSpaceError(Exception):
    """The images do not fit on the disk; the message has the needed and the free space."""


class _Space:
    """Disk space for a training's images, with a margin for the database and the model."""

    def __init__(self, folder: Path, images: int) -> None:
        self._folder = folder
        self._images = images
        self._lock = threading.Lock()
        self._count = self._bytes = 0
        self._refused: NoSpaceError | None = None

    def take(self, size: int) -> None:
        """Reserve space for an image and its mask. Raises NoSpaceError before the disk is full."""
        with self._lock:
            self._refused = self._refused or self._refusal(size)
            if self._refused is not None:  # stop the others too: their images would not be used
                raise self._refused

    def _refusal(self, size: int) -> NoSpaceError | None:
        disk = shutil.disk_usage(self._folder)
        margin = min(_MARGIN, disk.total // 10)
        self._count += 1
        self._bytes += size
        needed = self._bytes * self._images // self._count
        least = (needed - self._bytes) // 2 if self._count >= _ENOUGH_TO_TELL else 0
        if disk.free >= max(size, least) + margin:
            return None
        return NoSpaceError(
            f"the {self._images} images need about {_mib(needed)}, of which"
            f" {_mib(self._bytes)} are copied, and the disk with the state folder has"
            f" {_mib(disk.free)} free, of which {_mib(margin)} are reserved"
        )


def fetch(context: JobContext, lines: Sequence[str], folder: Path) -> Fetched:
    """Fetch the images of JSON lines. Raises ServiceEndingError and NoSpaceError."""
    folder.mkdir(parents=True, exist_ok=True)
    space = _Space(folder, len(lines))

    def one(line: str) -> FetchedImage | str:
        if context.stopping.is_set():
            raise ServiceEndingError
        try:
            entry = stored_entry(line)
        except LineError as error:
            return f"{line[:200]}: {error}"
        try:
            return _image(context, entry, folder, space)
        except BucketError as error:
            return str(error)
        except ImageError as error:
            return f"{entry.source_ref}: {error.clause}"

    with Threads(_PARALLEL, "fetch") as pool:
        found = pool.map(one, lines)
    images = tuple(item for item in found if isinstance(item, FetchedImage))
    return Fetched(images, tuple(item for item in found if isinstance(item, str)))


def _image(context: JobContext, entry: Entry, folder: Path, space: _Space) -> FetchedImage:
    body = context.buckets.read(*location(entry.item.source_ref), context.limits.image_bytes)
    suffix = ENDINGS[check_header(body, context.limits.image).format]
    name = hashlib.sha256(entry.source_ref.encode()).hexdigest()[:32]
    path = folder / f"{name}{suffix}"
    mask, mask_path = _mask(context, entry), None
    space.take(len(body) + len(mask))
    path.write_bytes(body)
    if mask:
        mask_path = folder / f"{name}.mask.png"
        mask_path.write_bytes(mask)
    return FetchedImage(
        entry.source_ref,
        entry.line,
        path,
        bool(entry.item.is_anomalous),
        mask_path,
        dict(entry.item.mask_colors) if mask_path else {},
        hashlib.sha256(body).hexdigest(),
    )


def _mask(context: JobContext, entry: Entry) -> bytes:
    """Return the mask's bytes; empty if there is none, or if the image is normal.

    Raises ImageDamaged.
    """
    item = entry.item
    if not item.is_anomalous or item.mask_ref is None:
        return b""
    try:
        mask = context.buckets.read(*location(item.mask_ref), context.limits.mask_bytes)
    except BucketError as error:
        raise ImageDamaged(f"its mask {error}") from error
    try:
        check_mask(mask)
        check_header(mask, context.limits.mask)
    except ImageError as error:
        raise ImageDamaged(f"its mask {item.mask_ref}: {error.clause}") from error
    return mask


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
