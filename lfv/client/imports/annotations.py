"""Converts COCO, VOC and YOLO data sets to a JSON Lines manifest and drawn masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from lfv.client.imports.kinds import (
    ANNOTATIONS_FOLDER,
    IMAGES_FOLDER,
    LABELS_FOLDER,
    ImportKind,
    yolo_labels,
)
from lfv.client.manifests.listing import IMAGE_ENDINGS
from lfv.client.sources import SourceReader
from lfv.client.stores import translate_os_error
from lfv.formats.annotations import (
    AnnotatedImage,
    draw_mask,
    mask_colors,
    parse_classes,
    parse_coco,
    parse_voc,
    parse_yolo,
)
from lfv.formats.annotations.coco import is_coco
from lfv.formats.errors import AnnotationsInvalid, SourceNotFound
from lfv.formats.folder_layout import SPLIT, split_of_path, why_no_part
from lfv.formats.labels import USUAL, LabelNames
from lfv.formats.manifest.writing import labelled_row
from lfv.formats.refs import FileRef, Ref, S3Ref, parent_of, parse_ref

_MAX_DOCUMENT = 512 * 1024 * 1024
_MAX_XML = 4 * 1024 * 1024
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "data")
_CLASS_FILES = ("data.yaml", "data.yml", "dataset.yaml")
_ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def convert_annotations(
    source: str,
    kind: ImportKind,
    reader: SourceReader,
    folder: Path,
    *,
    images: str | None = None,
    names: LabelNames = USUAL,
    boxes: bool = False,
) -> Path:
    """Write a manifest of the annotated images, and their masks, into `folder`.

    Args:
        source: A COCO file, or a folder with VOC's `Annotations` or YOLO's `labels`.
        kind: COCO, VOC or YOLO.
        reader: Reads the annotations and finds the images.
        folder: The target folder, created if needed.
        images: The folder of the images, if neither next to the annotations nor a usual one.
        names: Names of categories that mean normal, in addition to the usual words.
        boxes: Use bounding boxes as areas if there are no outlines.

    Returns:
        The manifest, `images.manifest` in `folder`.

    Raises:
        AnnotationsInvalid: The annotations violate their format or name no image.
        SourceError: Annotations or images cannot be read.
        OSError: The folder cannot be written.
    """
    ref = parse_ref(source)
    if kind is ImportKind.COCO:
        annotated = _coco(source, reader, names)
    else:
        annotated = _voc(ref, names) if kind is ImportKind.VOC else _yolo(ref, names, reader)
    if not annotated:
        raise AnnotationsInvalid(f"{source} lists no images.")
    places = _places(ref, kind, images)
    types = sorted({area.anomaly_type for image in annotated for area in image.areas})
    colors = mask_colors(types)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    manifest = folder / "images.manifest"
    found: set[Ref] = set()
    with manifest.open("w", encoding="utf-8") as out:
        for number, image in enumerate(annotated, 1):
            at = _locate(image.name, places, reader)
            if at in found:
                raise AnnotationsInvalid(f"{image.name[:200]} is annotated twice.")
            found.add(at)
            row = _row(image, number, at, colors, folder, boxes)
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        if kind is ImportKind.VOC:
            for left in _not_annotated(found):
                out.write(json.dumps({"source-ref": str(left)}, ensure_ascii=False) + "\n")
    return manifest


def _row(
    image: AnnotatedImage,
    number: int,
    ref: Ref,
    colors: dict[str, str],
    folder: Path,
    boxes: bool,
) -> dict[str, object]:
    mask = None
    if any(area.is_outline or (boxes and area.box is not None) for area in image.areas):
        mask = folder / "masks" / f"{number:06}.png"
        try:
            mask.write_bytes(draw_mask(image, colors, boxes=boxes))
        except AnnotationsInvalid as error:
            raise AnnotationsInvalid(f"{image.name[:200]}: {error}") from None
    shown = {area.anomaly_type for area in image.areas}
    used = {color: name for color, name in colors.items() if name in shown}
    row = labelled_row(str(ref), bool(image.areas), str(mask) if mask else None, used)
    split = split_of_path(image.name)
    return row | ({SPLIT: split} if split else {})


def _not_annotated(found: set[Ref]) -> list[Ref]:
    """List the images next to those that were found, whose label is therefore unknown."""
    folders = {Path(ref.path).parent for ref in found if isinstance(ref, FileRef)}
    files = (file for folder in sorted(folders) for file in sorted(folder.iterdir()))
    refs = (FileRef(str(file)) for file in files if _is_image(file) and file.is_file())
    return [ref for ref in refs if ref not in found]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_ENDINGS and why_no_part(file.name) is None


def _coco(source: str, reader: SourceReader, names: LabelNames) -> Sequence[AnnotatedImage]:
    try:
        document = json.loads(reader.read_bytes(source, limit=_MAX_DOCUMENT))
    except (ValueError, RecursionError) as error:
        raise AnnotationsInvalid(f"{source} is not valid JSON: {error}.") from None
    if not is_coco(document):
        raise AnnotationsInvalid(
            f"{source} has no lists named images and annotations, which COCO needs."
        )
    return parse_coco(document, names)


def _voc(ref: Ref, names: LabelNames) -> Sequence[AnnotatedImage]:
    if not isinstance(ref, FileRef):
        raise AnnotationsInvalid("VOC annotations must be in a folder on this machine.")
    return list(_voc_images(Path(ref.path) / ANNOTATIONS_FOLDER, names))


def _voc_images(folder: Path, names: LabelNames) -> Iterator[AnnotatedImage]:
    for file in sorted(folder.glob("*.xml")):
        try:
            with file.open("rb") as opened:
                data = opened.read(_MAX_XML + 1)
        except OSError as error:
            raise translate_os_error(error, str(file)) from error
        if len(data) > _MAX_XML:
            raise AnnotationsInvalid(f"{file.name} is larger than {_MAX_XML:,} bytes.")
        try:
            image = parse_voc(data, names)
        except AnnotationsInvalid as error:
            raise AnnotationsInvalid(f"{file.name}: {error}") from None
        yield replace(image, name=image.name or file.stem)


def _yolo(ref: Ref, names: LabelNames, reader: SourceReader) -> Sequence[AnnotatedImage]:
    if not isinstance(ref, FileRef):
        raise AnnotationsInvalid("YOLO labels must be in a folder on this machine.")
    folder = Path(ref.path)
    listed = [folder / name for name in _CLASS_FILES if (folder / name).is_file()]
    classes = parse_classes(reader.read_bytes(str(listed[0].absolute()))) if listed else {}
    files = {
        file: _label_file(file, folder)
        for images in sorted(folder.glob(f"**/{IMAGES_FOLDER}"))
        for file in sorted(images.glob("**/*"))
        if _is_image(file)
    }
    without = {file for file in yolo_labels(folder) if file.name != "classes.txt"}
    for labels in sorted(without - set(files.values())):
        raise AnnotationsInvalid(f"{labels.relative_to(folder)} has no image in {IMAGES_FOLDER}/.")
    return [_yolo_image(file, labels, folder, classes, names) for file, labels in files.items()]


def _label_file(image: Path, folder: Path) -> Path:
    parts = list(image.relative_to(folder).with_suffix(".txt").parts)
    parts[len(parts) - 1 - parts[::-1].index(IMAGES_FOLDER)] = LABELS_FOLDER
    return folder.joinpath(*parts)


def _yolo_image(
    file: Path, labels: Path, folder: Path, classes: Mapping[int, str], names: LabelNames
) -> AnnotatedImage:
    """Read an image and its label file, which may be missing if the image has no objects."""
    relative = file.relative_to(folder)
    try:
        text = labels.read_text(encoding="utf-8-sig") if labels.is_file() else ""
        with Image.open(file) as opened:
            size = opened.size
        return parse_yolo(relative.as_posix(), size, text, classes, names)
    except AnnotationsInvalid as error:
        raise AnnotationsInvalid(f"{labels.relative_to(folder)}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationsInvalid(f"{relative} or its labels cannot be read: {error}.") from error


def _places(ref: Ref, kind: ImportKind, images: str | None) -> list[Ref]:
    """Return folders and prefixes that may hold the images, most likely first."""
    if images is not None:
        given = parse_ref(images if images.startswith("s3://") else str(Path(images).absolute()))
        return [given]
    base = parent_of(ref) if kind is ImportKind.COCO else ref
    above = parent_of(S3Ref(base.bucket, base.key.rstrip("/")) if isinstance(base, S3Ref) else base)
    return [base, *(_ref_below(base, name) for name in _IMAGE_FOLDERS), above] + [
        _ref_below(above, name) for name in _IMAGE_FOLDERS
    ]


def _locate(name: str, places: list[Ref], reader: SourceReader) -> Ref:
    """Find the image `name`, and move its place to the front of `places` for the next search."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise AnnotationsInvalid(f"The image {name[:200]!r} is outside the images' folder.")
    for place in tuple(places):
        for ending in ("",) if path.suffix else _ENDINGS:
            ref = _ref_below(place, f"{path}{ending}")
            if _exists(ref, reader):
                places.remove(place)
                places.insert(0, place)
                return ref
    raise SourceNotFound(
        f"{name[:200]} is not in the annotations' folder; give the images' folder with --images.",
        ref=name,
    )


def _ref_below(base: Ref, name: str) -> Ref:
    if isinstance(base, S3Ref):
        prefix = base.key if not base.key or base.key.endswith("/") else f"{base.key}/"
        return S3Ref(base.bucket, prefix + name)
    return FileRef(str(Path(base.path).absolute() / name))


def _exists(ref: Ref, reader: SourceReader) -> bool:
    if isinstance(ref, S3Ref):
        return reader.bucket(ref.bucket).size_of(ref.key) is not None
    return Path(ref.path).is_file()
