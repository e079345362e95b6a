"""Reads folders and prefixes as manifests.

A file counts as an image if its name ends like an image's, or, in a folder, if it starts like a PNG
or JPEG. Endings of formats that the service does not accept count, too, so that a TIFF gets an
error instead of being ignored. In a bucket, reading the start costs a request for each object, so
there a name without an ending counts instead. Files of other programs and the masks of a data set
are counted in `Skipped`.

Files come in the byte order of their paths, which is also the order in which S3 lists keys.
`lfv.formats.folder_layout` interprets the paths.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lfv.client.masks import masks_show_anomaly
from lfv.client.sources import SourceReader
from lfv.client.stores import open_local, translate_os_error
from lfv.formats.errors import ImageError, LfvError, SourceError
from lfv.formats.folder_layout import ANOMALY_TYPE, Layout, Place, Skipped, split_of, why_no_part
from lfv.formats.image_headers import JPEG_SIGNATURE, PNG_SIGNATURE
from lfv.formats.manifest.groundtruth import LABEL_PROBLEM, Profile
from lfv.formats.manifest.records import BadLine, ManifestItem, printable
from lfv.formats.masks import is_flat, plain_colors
from lfv.formats.refs import FileRef, Ref, S3Ref

_TAKEN = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".apng", ".mpo")
_OTHERS = (".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2")
_MASKS = "masks"
_NOT_UTF8 = "The file's name is not UTF-8."
IMAGE_ENDINGS = frozenset((*_TAKEN, *_OTHERS, ".jxl"))


def iter_folder(
    folder: Path, reader: SourceReader, profile: Profile, skipped: Skipped
) -> Iterator[ManifestItem | BadLine]:
    """Yield every image below `folder`, following symbolic links but not cycles of them."""
    implied = split_of({"split": folder.name})
    layout = Layout(profile.names, implied)
    for path, error in walk_folder(folder):
        relative = os.path.relpath(path, folder)
        if error is None and why_no_part(relative) is None and _ends_like_image(relative):
            _add(layout, relative, FileRef(path), reader)
    if implied is not None:  # the masks of a test folder are in a folder next to it
        _add_ground_truth(folder, layout)
    masks_seen = _Masks()
    number = 0
    for path, error in walk_folder(folder):
        relative = os.path.relpath(path, folder)
        if error is None:
            reason = why_no_part(relative)
            if reason is None and not (_ends_like_image(relative) or _begins_like_image(path)):
                reason = "other files"
            elif reason is None and layout.is_mask(relative):
                reason = _MASKS
            if reason is not None:
                masks_seen.skip(relative, reason, skipped)
                continue
        number += 1
        if error is not None:
            yield BadLine(number, printable(path), error.code, str(error))
        elif not _is_unicode(path):
            yield BadLine(number, printable(os.fsencode(relative)), "not_utf8", _NOT_UTF8)
        else:
            place = layout.place(relative)
            masks_seen.used.update(place.masks)
            masks = tuple(os.path.join(folder, mask) for mask in place.masks)  # noqa: PTH118
            yield _item(number, path, relative, place, masks, reader, profile)
    masks_seen.tell(skipped)


def iter_prefix(
    prefix: S3Ref, reader: SourceReader, profile: Profile, skipped: Skipped
) -> Iterator[ManifestItem | BadLine]:
    """Yield every object below `prefix` that looks like an image. Raises SourceError."""
    layout = Layout(profile.names, split_of({"split": posixpath.basename(prefix.key.rstrip("/"))}))
    for ref in reader.list(prefix):
        relative = ref.key[len(prefix.key) :]
        if why_no_part(relative) is None and _ends_like_image(relative):
            _add(layout, relative, ref, reader)
    masks_seen = _Masks()
    number = 0
    for ref in reader.list(prefix):
        relative = ref.key[len(prefix.key) :]
        reason = why_no_part(relative)
        if reason is None and posixpath.splitext(relative)[1] and not _ends_like_image(relative):
            reason = "other files"
        elif reason is None and layout.is_mask(relative):
            reason = _MASKS
        if reason is not None:
            masks_seen.skip(relative, reason, skipped)
            continue
        number += 1
        if not _is_unicode(ref.key):
            yield BadLine(number, printable(relative), "not_utf8", _NOT_UTF8)
            continue
        place = layout.place(relative)
        masks_seen.used.update(place.masks)
        masks = tuple(str(S3Ref(prefix.bucket, prefix.key + mask)) for mask in place.masks)
        yield _item(number, str(ref), relative, place, masks, reader, profile)
    masks_seen.tell(skipped)


@dataclass
class _Masks:
    """Masks that were skipped as files, and masks that belong to an image."""

    skipped: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def skip(self, relative: str, reason: str, skipped: Skipped) -> None:
        """Count a skipped file."""
        skipped.reasons[reason] += 1
        if reason == _MASKS:
            self.skipped.append(relative)

    def tell(self, skipped: Skipped) -> None:
        """Count skipped masks without an image under a separate reason."""
        lost = sum(mask not in self.used for mask in self.skipped)
        if lost:
            skipped.reasons += Counter({_MASKS: -lost, "masks without an image": lost})


def _add(layout: Layout, relative: str, ref: Ref, reader: SourceReader) -> None:
    """Add a file; a PNG next to a JPEG of the same name is a mask if its pixels look like one."""
    if not layout.add(relative):
        return
    with suppress(SourceError, ImageError):  # the file then counts as an image and gets its error
        if is_flat(reader.read_bytes(ref)):
            layout.add_mask(relative)


def _item(
    number: int,
    ref: str,
    relative: str,
    place: Place,
    masks: tuple[str, ...],
    reader: SourceReader,
    profile: Profile,
) -> ManifestItem:
    label = place.is_anomalous
    attributes = place.attributes
    if masks and not label and profile.looks_at_masks:
        try:
            label = masks_show_anomaly(masks, reader)
        except LfvError as error:
            attributes[LABEL_PROBLEM] = f"Its mask {masks[0]} cannot be read: {error}"
    if not label:
        masks = ()
        attributes.pop(ANOMALY_TYPE, None)
    return ManifestItem(
        number,
        ref,
        relative,
        is_anomalous=label,
        mask_ref=masks[0] if masks else None,
        mask_colors=plain_colors(place.anomaly_type) if masks else {},
        plain_masks=masks,
        attributes=attributes,
        found_label=place.found if label is None else None,
    )


def _add_ground_truth(folder: Path, layout: Layout) -> None:
    """Add the masks of `<set>/test` in `<set>/ground_truth`, by paths that start with `..`."""
    try:
        siblings = sorted(entry.name for entry in os.scandir(folder.parent))
    except OSError:
        return
    for name in siblings:
        if name == folder.name or not layout.is_mask(f"{name}/x"):
            continue
        for path, error in walk_folder(folder.parent / name):
            if error is None and _ends_like_image(path):
                layout.add(os.path.relpath(path, folder.parent), os.path.relpath(path, folder))


def walk_folder(
    folder: Path, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, SourceError | None]]:
    """Yield every file, and every folder that cannot be listed, with its error.

    `above` are the enclosing folders, to which links are not followed.
    """
    try:
        facts = folder.stat()
        here = (facts.st_dev, facts.st_ino)
        if here in above:
            return
        with os.scandir(folder) as entries:
            found = sorted(map(_named, entries), key=lambda one: os.fsencode(one[0]))
    except OSError as error:
        yield str(folder), translate_os_error(error, str(folder))
        return
    for name, path, problem in found:
        if not name.endswith("/"):
            yield path, problem
        elif not name.startswith("."):  # such as .git with its thousands of files
            yield from walk_folder(Path(path), above | {here})


def _named(entry: os.DirEntry[str]) -> tuple[str, str, SourceError | None]:
    """Return an entry's name, a folder's with a slash, and its path.

    A link that cannot be followed is a file if its name is an image's, so that reading it gives the
    error. Any other such link may lead to a folder, so its error is returned here.
    """
    try:
        return entry.name + ("/" if entry.is_dir() else ""), entry.path, None
    except OSError as error:
        is_image = _ends_like_image(entry.name)
        return entry.name, entry.path, None if is_image else translate_os_error(error, entry.path)


def _ends_like_image(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in IMAGE_ENDINGS


def _begins_like_image(path: str) -> bool:
    try:
        with open_local(Path(path), path) as source:
            return source.stream.read(8).startswith((PNG_SIGNATURE, JPEG_SIGNATURE))
    except SourceError:
        return False  # neither its name nor the user declares it an image


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
