"""Pascal VOC's format: one XML file for each image, with the bounding boxes of its objects."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from lfv.formats.annotations.areas import UNNAMED, AnnotatedImage, Area
from lfv.formats.errors import AnnotationsInvalid
from lfv.formats.labels import USUAL, LabelNames


def parse_voc(data: bytes, names: LabelNames = USUAL) -> AnnotatedImage:
    """Read the image in an annotation file; without objects it is normal.

    Raises AnnotationsInvalid, also for a file with a document type, because entities are not
    expanded.
    """
    if b"\0" in data:
        raise AnnotationsInvalid("The file is not UTF-8.")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise AnnotationsInvalid(
            "The file has a document type declaration, which VOC files do not need."
        )
    try:
        root = ET.fromstring(data)  # noqa: S314 - without entities
    except ET.ParseError as error:
        raise AnnotationsInvalid(f"The file is not valid XML: {error}.") from None
    if root.tag != "annotation":
        raise AnnotationsInvalid(f"The root element is <{root.tag}>, not <annotation>.")
    name = (root.findtext("filename") or "").strip()
    areas = []
    for found in root.iter("object"):
        kind = (found.findtext("name") or "").strip()
        if names.of_folder(kind) is False:
            continue
        areas.append(Area(kind or UNNAMED, box=_box(found)))
    return AnnotatedImage(name, _size(root), tuple(areas))


def _size(root: ET.Element) -> tuple[int, int] | None:
    try:
        return int(root.findtext("size/width") or ""), int(root.findtext("size/height") or "")
    except ValueError:
        return None


def _box(found: ET.Element) -> tuple[float, float, float, float] | None:
    """Read an object's box; VOC counts pixels from 1 and includes the last one."""
    if found.find("bndbox") is None:
        return None
    try:
        left, top, right, bottom = (
            float(found.findtext(f"bndbox/{side}") or "")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        raise AnnotationsInvalid("A bounding box does not consist of four numbers.") from None
    return left - 1, top - 1, right - left + 1, bottom - top + 1
