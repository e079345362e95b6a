"""Bringing a training's images from their buckets into the training's own folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lfv_server.buckets import parse_ref
from lfv_server.errors import BucketError
from lfv_server.images import UnusableImageError, check_header, check_mask_header, sniff
from lfv_server.jobs.context import JobContext, ServiceEndingError
from lfv_server.manifests import Entry, parse_entry
from lfv_server.threads import Threads

_PARALLEL = 4


@dataclass(frozen=True)
class FetchedImage:
    source_ref: str
    line: str
    path: Path
    is_anomalous: bool
    mask_path: Path | None
    mask_colors: dict[str, str]
    """Anomaly type by ``#RRGGBB``."""


@dataclass(frozen=True)
class Fetched:
    images: tuple[FetchedImage, ...]
    problems: tuple[str, ...]
    """One sentence for each image that could not be had."""


def fetch(context: JobContext, lines: Sequence[str], folder: Path) -> Fetched:
    """The images of these JSON lines. Raises ServiceEndingError."""
    folder.mkdir(parents=True, exist_ok=True)

    def one(line: str) -> FetchedImage | str:
        if context.stopping.is_set():
            raise ServiceEndingError
        entry = parse_entry(line.encode())
        try:
            return _image(context, entry, folder)
        except BucketError as error:
            return str(error)
        except UnusableImageError as error:
            return f"{entry.source_ref}: {error}"

    with Threads(_PARALLEL, "fetch") as pool:
        found = pool.map(one, lines)
    images = tuple(item for item in found if isinstance(item, FetchedImage))
    return Fetched(images, tuple(item for item in found if isinstance(item, str)))


def _image(context: JobContext, entry: Entry, folder: Path) -> FetchedImage:
    body = context.buckets.read(*parse_ref(entry.source_ref), context.limits.image_bytes)
    check_header(body, context.limits)
    suffix = ".png" if sniff(body) == "PNG" else ".jpg"
    name = hashlib.sha256(entry.source_ref.encode()).hexdigest()[:32]
    path = folder / f"{name}{suffix}"
    path.write_bytes(body)
    mask_path = None
    if entry.mask_ref is not None and entry.mask_colors:
        mask = context.buckets.read(*parse_ref(entry.mask_ref), context.limits.mask_bytes)
        try:
            check_mask_header(mask, context.limits)
        except UnusableImageError as error:
            raise UnusableImageError(f"its mask {entry.mask_ref}: {error}") from error
        mask_path = folder / f"{name}.mask.png"
        mask_path.write_bytes(mask)
    return FetchedImage(
        entry.source_ref,
        entry.line,
        path,
        entry.label == "anomaly",
        mask_path,
        dict(entry.mask_colors) if mask_path else {},
    )
