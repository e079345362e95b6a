"""Folders and prefixes as manifests: which of their files are images to look at.

A file counts when its name ends like an image's, also one that the service doesn't take (a TIFF
then gets its own error instead of being passed over in silence), or, in a folder, when its first
bytes are those of a PNG or JPEG. In a bucket looking inside costs a request for each object, so
there a name without any ending counts, too. Hidden files and folders never count.

Files come in the order of their paths' bytes, which is also the order in which S3 lists keys.
A file below a folder called `normal` or `anomaly` carries that label.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from lfv.client.sources import SourceReader
from lfv.client.stores import open_local, translate_os_error
from lfv.formats.errors import SourceError
from lfv.formats.image_headers import JPEG_SIGNATURE, PNG_SIGNATURE
from lfv.formats.manifest.groundtruth import label_of
from lfv.formats.manifest.records import BadLine, ManifestItem, printable
from lfv.formats.refs import S3Ref

_TAKEN = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".apng", ".mpo")
_OTHERS = (".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2")
_NOT_UTF8 = "The file's name is not UTF-8."
IMAGE_ENDINGS = frozenset((*_TAKEN, *_OTHERS, ".jxl"))


def iter_folder(folder: Path) -> Iterator[ManifestItem | BadLine]:
    """Every image below `folder`; symlinks to files are followed, those to folders are not."""
    number = 0
    for path, error in _walk(folder):
        number += 1
        if error is not None:
            yield BadLine(number, printable(path), error.code, str(error))
            continue
        relative = os.path.relpath(path, folder)
        if not _is_unicode(path):
            yield BadLine(
                number,
                printable(os.fsencode(relative)),
                "not_utf8",
                _NOT_UTF8,
            )
            continue
        yield ManifestItem(number, path, relative, is_anomalous=label_from_path(relative))


def iter_prefix(prefix: S3Ref, reader: SourceReader) -> Iterator[ManifestItem | BadLine]:
    """Every object below `prefix` that looks like an image. Raises SourceError."""
    number = 0
    for ref in reader.list(prefix):
        relative = ref.key[len(prefix.key) :]
        if any(part.startswith(".") for part in relative.split("/")):
            continue
        ending = posixpath.splitext(relative)[1].lower()
        if relative.endswith("/") or (ending and ending not in IMAGE_ENDINGS):
            continue
        number += 1
        if not _is_unicode(ref.key):
            yield BadLine(number, printable(relative), "not_utf8", _NOT_UTF8)
            continue
        yield ManifestItem(number, str(ref), relative, is_anomalous=label_from_path(relative))


def label_from_path(relative: str) -> bool | None:
    """The label that the nearest folder called `normal` or `anomaly` gives."""
    for part in reversed(Path(relative).parts[:-1]):
        label = label_of(part)
        if label is not None:
            return label
    return None


def _walk(folder: Path) -> Iterator[tuple[str, SourceError | None]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (
                    (entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""), entry.path)
                    for entry in entries
                    if not entry.name.startswith(".")
                ),
                key=lambda pair: os.fsencode(pair[0]),
            )
    except OSError as error:
        yield str(folder), translate_os_error(error, str(folder))
        return
    for name, path in found:
        if name.endswith("/"):
            yield from _walk(Path(path))
        elif os.path.splitext(name)[1].lower() in IMAGE_ENDINGS or _begins_like_image(path):  # noqa: PTH122
            yield path, None


def _begins_like_image(path: str) -> bool:
    try:
        with open_local(Path(path), path) as source:
            return source.stream.read(8).startswith((PNG_SIGNATURE, JPEG_SIGNATURE))
    except SourceError:
        return False  # by its name it is no image, and nobody asked for it by name


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
