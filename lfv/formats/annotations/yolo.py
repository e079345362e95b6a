"""YOLO's format: one text file for each image, with a line for each object.

A line is `class x y width height`, or `class x1 y1 x2 y2 ...` for an outline. Coordinates are
fractions of the image's width and height; `x y` is the centre of the box. `data.yaml` names the
classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from lfv.formats.annotations.areas import AnnotatedImage, Area
from lfv.formats.errors import AnnotationsInvalid
from lfv.formats.labels import USUAL, LabelNames

_BOX = 4
_LEAST_OUTLINE = 6


def parse_classes(data: bytes) -> dict[int, str]:
    """Return the names of the classes in a `data.yaml`, by number. Raises AnnotationsInvalid."""
    try:
        names = yaml.safe_load(data)["names"]
        listed = names if isinstance(names, dict) else dict(enumerate(names))
        classes = {int(number): name for number, name in listed.items()}
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise AnnotationsInvalid(f"data.yaml is not valid YAML: {problem}.") from None
    except (KeyError, TypeError, ValueError):
        raise AnnotationsInvalid("data.yaml does not list the names of the classes.") from None
    # A list within a list may be a short text that aliases make gigabytes of.
    if not all(isinstance(name, str | int | float) for name in classes.values()):
        raise AnnotationsInvalid("data.yaml has a name of a class that is not text.")
    return {number: str(name) for number, name in classes.items()}


def parse_yolo(
    name: str,
    size: tuple[int, int],
    text: str,
    classes: Mapping[int, str],
    names: LabelNames = USUAL,
) -> AnnotatedImage:
    """Read the image in a label file; without objects it is normal.

    Args:
        name: The image's path.
        size: (width, height) of the image in pixels.
        text: Content of the label file.
        classes: Names of the classes by their numbers; empty if they have no names.
        names: Names of classes that mean normal, in addition to the usual words.

    Raises:
        AnnotationsInvalid: A line does not describe an object.
    """
    areas = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            kind, *values = line.split()
            numbers = [float(value) for value in values]
            label = classes[int(kind)] if classes else f"class {int(kind)}"
        except KeyError:
            raise AnnotationsInvalid(
                f"Line {number} has class {int(kind)}, which data.yaml does not name."
            ) from None
        except ValueError:
            raise AnnotationsInvalid(
                f"Line {number} is not a class number followed by coordinates."
            ) from None
        if names.of_folder(label) is not False:
            areas.append(_area(label, numbers, size, number))
    return AnnotatedImage(name, size, tuple(areas))


def _area(label: str, numbers: list[float], size: tuple[int, int], line: int) -> Area:
    width, height = size
    if any(not -0.5 <= number <= 1.5 for number in numbers):
        raise AnnotationsInvalid(f"Line {line} has coordinates outside 0 to 1.")
    if len(numbers) in (_BOX, _BOX + 1):  # a detector adds its confidence
        x, y, wide, high = numbers[:_BOX]
        box = ((x - wide / 2) * width, (y - high / 2) * height, wide * width, high * height)
        return Area(label, box=box)
    if len(numbers) < _LEAST_OUTLINE or len(numbers) % 2:
        raise AnnotationsInvalid(f"Line {line} is neither a box nor a polygon.")
    points = zip(numbers[::2], numbers[1::2], strict=True)
    return Area(label, polygons=(tuple((x * width, y * height) for x, y in points),))
