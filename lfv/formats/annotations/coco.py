"""COCO's object detection format: one JSON file with images, categories and annotations.

Source: the format's description at cocodataset.org. `segmentation` is a list of polygons (flat
lists of x and y), or run lengths down the columns, as a list or packed into a string. `bbox` is
left, top, width and height. Exports of other tools omit members that they do not need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lfv.formats.annotations.areas import UNNAMED, AnnotatedImage, Area
from lfv.formats.errors import AnnotationsInvalid
from lfv.formats.labels import USUAL, LabelNames


def is_coco(document: object) -> bool:
    """Whether a JSON document looks like COCO's."""
    return isinstance(document, dict) and all(
        isinstance(document.get(member), list) for member in ("images", "annotations")
    )


def parse_coco(document: Mapping[str, Any], names: LabelNames = USUAL) -> list[AnnotatedImage]:
    """Return the images of a COCO document, in its order.

    Every category is an anomaly type, unless its name means normal. Images without anomalies are
    normal.

    Raises AnnotationsInvalid.
    """
    categories = {}
    for entry in _entries(document, "categories"):
        categories[entry.get("id")] = str(entry.get("name") or "")
    areas: defaultdict[object, list[Area]] = defaultdict(list)
    for entry in _entries(document, "annotations"):
        image_id, category = entry.get("image_id"), entry.get("category_id")
        if category not in categories:
            raise AnnotationsInvalid(
                f"Annotation {entry.get('id')!r} has category {category!r}, which is not declared."
            )
        name = categories[category]
        if names.of_folder(name) is False:
            continue
        areas[image_id].append(_area(entry, name or UNNAMED))
    found = []
    for entry in _entries(document, "images"):
        image_id, file_name = entry.get("id"), entry.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise AnnotationsInvalid(f"Image {image_id!r} has no file_name.")
        mine = tuple(areas.pop(image_id, ()))
        found.append(AnnotatedImage(file_name, _size(entry), mine))
    if areas:
        raise AnnotationsInvalid(
            f"Annotations refer to image {next(iter(areas))!r}, which is not listed in images."
        )
    return found


def _entries(document: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
    entries = document.get(member, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AnnotationsInvalid(f"{member} is not a list of objects.")
    return entries


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if type(width) is int and type(height) is int else None


def _area(entry: Mapping[str, Any], name: str) -> Area:
    what = f"annotation {entry.get('id')!r}"
    shape, box = entry.get("segmentation"), entry.get("bbox")
    try:
        bounds = None
        if isinstance(box, list) and box:
            left, top, width, height = (float(value) for value in box)
            bounds = (left, top, width, height)
        if isinstance(shape, dict):
            return Area(name, runs=_runs(shape.get("counts")), box=bounds)
        if isinstance(shape, list) and shape:
            outlines = shape if isinstance(shape[0], list) else [shape]
            return Area(name, polygons=tuple(map(_points, outlines)), box=bounds)
        return Area(name, box=bounds)
    except (TypeError, ValueError) as error:
        raise AnnotationsInvalid(f"The area of {what} cannot be read: {error}.") from None


def _points(flat: Any) -> tuple[tuple[float, float], ...]:
    if len(flat) < 6 or len(flat) % 2:
        raise ValueError("a polygon needs at least three points of two numbers each")
    values = [float(value) for value in flat]
    return tuple(zip(values[::2], values[1::2], strict=True))


def _runs(counts: Any) -> tuple[int, ...]:
    if isinstance(counts, str):
        counts = _unpack(counts.encode("ascii", "replace"))
    runs = tuple(int(count) for count in counts)
    if any(count < 0 for count in runs):
        raise ValueError("a run of pixels has a negative length")
    return runs


def _unpack(text: bytes) -> list[int]:
    """Decode COCO's packed run lengths.

    Each character, less '0', holds five bits, the lowest first. Bit 5 says that more characters
    follow; bit 4 of the last one is the sign. From the fourth run on, the difference from the run
    two places before is stored.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError("the compressed run lengths contain an invalid character")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            if shift > 60:
                raise ValueError("the compressed run lengths contain a number that is too large")
            continue
        if bits & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the compressed run lengths are truncated")
    return runs
