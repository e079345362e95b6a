"""Checks and reads labelled images for training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfv.engine.decoding import MIN_SIDE, DecodedImage, decode, measure, sample_range_of
from lfv.engine.errors import ImageRejected, TrainingError
from lfv.engine.metrics import Bools
from lfv.engine.types import TrainingImage
from lfv.formats.answers import is_background
from lfv.formats.errors import ImageError, LfvError, MaskColorInvalid
from lfv.formats.masks import Mask, examine_mask, open_mask, parse_color, read_mask
from lfv.formats.words import count_of, form_of

#: Fewest normal images for cross-validation (Lookout for Vision required 20).
MIN_NORMAL = 5
#: Fewest normal images if there are no anomalous ones.
MIN_NORMAL_ALONE = 10
#: With fewer anomalous images, these are set aside and training uses normal images only.
MIN_ANOMALOUS = 5
#: With fewer images of a class, a warning calls the figures uncertain.
FEW = 20
#: With fewer images of a class, a warning advises against relying on the model.
TOO_FEW = 10
MAX_TYPES = 100
_GREYS = [f"#{level:02X}{level:02X}{level:02X}" for level in range(128, 128 + MAX_TYPES + 1)]
#: Distinct colours, more than ``MAX_TYPES``.
_DISTINCT = tuple(
    f"#{red:02X}{green:02X}{blue:02X}"
    for red in (220, 40, 130, 90, 180)
    for green in (40, 160, 90, 210, 20)
    for blue in (50, 200, 120, 20, 250)
)
#: Images used to determine the range of 16-bit samples.
_RANGE_IMAGES = 200
#: Share of a mask's pixels in unnamed colours from which to warn.
_UNKNOWN = 0.0005
#: Samples per side of a cell for counting the shares of classes.
_SAMPLES = 8


@dataclass(frozen=True)
class Dataset:
    """Images of one size."""

    images: tuple[TrainingImage, ...]
    width: int
    height: int
    #: (name, ``'#RRGGBB'``), in the order of class numbers 1, 2, ...; empty without masks.
    anomaly_types: tuple[tuple[str, str], ...]
    #: Whether a sample of the images has colour.
    color: bool
    #: ``'#RRGGBB'`` of the background; no anomaly type has it.
    background_color: str = "#FFFFFF"
    #: 16-bit values mapped to black (0) and white (255); None for 8-bit images.
    sample_range: tuple[int, int] | None = None

    @property
    def truth(self) -> Bools:
        """[images] whether each is labelled anomalous."""
        return np.array([image.is_anomalous for image in self.images], dtype=bool)

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the anomaly types."""
        return tuple(name for name, _ in self.anomaly_types)


def read_training(images: Sequence[TrainingImage]) -> tuple[Dataset, list[str]]:
    """Check ``images``, and collect warnings about them.

    Raises:
        TrainingError: For the first problem that makes training impossible.
    """
    normal, anomalous = (_different(images, anomalous=value) for value in (False, True))
    copies = len(images) - normal - anomalous
    note = f"; {copies} are copies of others, byte for byte" if copies else ""
    if normal < MIN_NORMAL:
        raise TrainingError(
            f"Training needs at least {MIN_NORMAL} normal images; the dataset has {normal}{note}."
        )
    if normal < MIN_NORMAL_ALONE and anomalous < MIN_ANOMALOUS:
        raise TrainingError(
            f"Training from fewer than {MIN_ANOMALOUS} anomalous images needs at least "
            f"{MIN_NORMAL_ALONE} normal images; the dataset has {normal} normal and {anomalous} "
            f"anomalous{note}."
        )
    width, height, warnings = _measure(images)
    sample_range = _sample_range(images)
    images = [replace(image, sample_range=sample_range) for image in images]
    types = _anomaly_types(images)
    color = _has_color(images)
    if 0 < anomalous < MIN_ANOMALOUS:
        warnings.append(
            f"Only {count_of(anomalous, 'anomalous image')}{note}: too few to learn from, so "
            "the model learned from the normal images alone."
        )
        images = [image for image in images if not image.is_anomalous]
        types = ()
    elif anomalous and min(normal, anomalous) < TOO_FEW:
        warnings.append(
            f"{normal} normal and {anomalous} anomalous images are too few: with fewer than "
            f"{TOO_FEW} of a class the model is a first try, and neither its verdicts nor the "
            "figures below can be relied on. Add images."
        )
    elif anomalous and min(normal, anomalous) < FEW:
        warnings.append(
            f"{normal} normal and {anomalous} anomalous images are few: with fewer than {FEW} of "
            "a class the figures below are rough, and a new batch may look different. Add images."
        )
    elif not anomalous:
        warnings.append(
            "There are no anomalous images: the model knows what is usual, not what is wrong, "
            "and its confidence is a rank among the normal images rather than a probability."
        )
    warnings += _unknown_colors(images, [name for name, _ in types])
    ground = _background_color(images, [color for _, color in types])
    return Dataset(tuple(images), width, height, types, color, ground, sample_range), warnings


def _different(images: Sequence[TrainingImage], *, anomalous: bool) -> int:
    """Count the different images of a class; identical files count once."""
    of_class = [image for image in images if image.is_anomalous == anomalous]
    return len({hashlib.sha256(_bytes(image)).digest() for image in of_class})


def check_test(images: Sequence[TrainingImage], width: int, height: int) -> None:
    """Refuse test images that the model could not judge.

    Raises:
        TrainingError: Names the first one.
    """
    for image in images:
        size = _size(image)[:2]
        if size != (width, height):
            raise TrainingError(
                f"The test image {image.source_ref} is {size[0]}x{size[1]} pixels; the training "
                f"images are {width}x{height}."
            )


def find_damaged(images: Sequence[TrainingImage]) -> dict[str, str]:
    """Return the problem with each image whose pixels or mask cannot be decoded, by source-ref.

    Reads all data, unlike a check of headers. JPEGs are decoded at an eighth of their size, which
    finds the same damage at a lower cost.
    """

    def problem(image: TrainingImage) -> str | None:
        try:
            load(image, (MIN_SIDE, MIN_SIDE))
            if image.is_anomalous and image.mask_path is not None:
                open_mask(image.mask_path.read_bytes())
        except ImageError as error:
            return f"its mask cannot be read: {error.clause}"
        except TrainingError as error:
            why = str(error).removeprefix(f"{image.source_ref}: ").rstrip(".")
            return why[:1].lower() + why[1:]
        except Exception as error:  # noqa: BLE001 (damaged bytes raise anything from any codec)
            return f"it cannot be decoded: {error!r}"
        return None

    with ThreadPoolExecutor(2) as executor:
        found = executor.map(problem, images)
        return {image.source_ref: why for image, why in zip(images, found, strict=True) if why}


def load(image: TrainingImage, size: tuple[int, int] | None = None) -> DecodedImage:
    """Decode one image.

    Raises:
        TrainingError: Names the image and the problem.
    """
    try:
        return decode(_bytes(image), size, sample_range=image.sample_range)
    except ImageRejected as error:
        raise TrainingError(f"{image.source_ref}: {error}") from error


def load_labels(
    image: TrainingImage, types: tuple[str, ...], size: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """Return the class of every pixel at ``size`` (width, height), or None if unknown.

    A normal image is entirely background, whatever its mask. The pixels of an anomalous image
    without a mask, or with an empty one, are unknown.
    """
    if not image.is_anomalous:
        return np.zeros((size[1], size[0]), dtype=np.uint8)
    if image.mask_path is None:
        return None
    try:
        labels = read_mask(image.mask_path.read_bytes(), image.mask_colors, types, size)
    except OSError as error:
        raise TrainingError(
            f"{image.source_ref}: Its mask cannot be read: {error.strerror}."
        ) from error
    except LfvError as error:
        raise TrainingError(
            f"{image.source_ref}: Its mask cannot be read: {error.clause}."
        ) from error
    return labels if labels.any() else None


def load_shares(
    image: TrainingImage, types: tuple[str, ...], grid: tuple[int, int]
) -> NDArray[np.float16] | None:
    """Return the share of every cell that each class covers, or None if unknown.

    Args:
        grid: (rows, columns).

    Returns:
        [1 + types, rows, columns], background first.
    """
    rows, columns = grid
    labels = load_labels(image, types, (columns * _SAMPLES, rows * _SAMPLES))
    if labels is None:
        return None
    cells = labels.reshape(rows, _SAMPLES, columns, _SAMPLES)
    shares: NDArray[np.float16] = np.stack(
        [(cells == number).mean(axis=(1, 3)) for number in range(len(types) + 1)]
    ).astype(np.float16)
    return shares


def _bytes(image: TrainingImage) -> bytes:
    try:
        return image.path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{image.source_ref} cannot be read: {error.strerror}.") from error


def _size(image: TrainingImage) -> tuple[int, int, int]:
    try:
        return measure(_bytes(image))
    except ImageRejected as error:
        raise TrainingError(f"{image.source_ref}: {error}") from error


def _measure(images: Sequence[TrainingImage]) -> tuple[int, int, list[str]]:
    sizes: Counter[tuple[int, int]] = Counter()
    example: dict[tuple[int, int], str] = {}
    turned = 0
    for image in images:
        width, height, orientation = _size(image)
        sizes[width, height] += 1
        example.setdefault((width, height), image.source_ref)
        turned += orientation != 1
    if len(sizes) > 1:
        listed = ", ".join(
            f"{width}x{height} ({count_of(count, 'image')}, such as {example[width, height]})"
            for (width, height), count in sizes.most_common(3)
        )
        raise TrainingError(
            f"All images must have the same dimensions; there are {len(sizes)}: {listed}."
        )
    warnings = []
    if turned:
        warnings.append(
            f"{turned} of {count_of(len(images), 'image')} carry an EXIF orientation. "
            "Pixels are used as stored; make sure that all images, also at "
            "inference, have the same orientation."
        )
    return *next(iter(sizes)), warnings


def _anomaly_types(images: Sequence[TrainingImage]) -> tuple[tuple[str, str], ...]:
    """Return the types of all colour maps, each with its first colour, or one of its own if taken.

    Raises:
        TrainingError: If there are more than 100, or a colour is invalid.
    """
    found: dict[str, str] = {}
    for image in images:
        if image.mask_path is None:
            continue
        for color, name in _color_map(image):
            if not is_background(name):
                found.setdefault(name, color)
    if len(found) > MAX_TYPES:
        raise TrainingError(
            f"There are {len(found)} anomaly types; at most {MAX_TYPES} are allowed."
        )
    # Masks of public sets are white for every type, but each type needs its own colour.
    taken: set[str] = set()
    for name, color in found.items():
        if color in taken:
            found[name] = next(one for one in _DISTINCT if one not in {*taken, *found.values()})
        taken.add(found[name])
    return tuple(sorted(found.items()))


def _color_map(image: TrainingImage) -> Iterator[tuple[str, str]]:
    """Yield (``'#RRGGBB'``, name) of an anomalous image's mask; nothing for a normal image.

    Raises:
        TrainingError: If a colour is invalid; the message names the image.
    """
    if not image.is_anomalous:
        return
    for color, name in image.mask_colors.items():
        try:
            yield f"#{bytes(parse_color(color)).hex().upper()}", name
        except MaskColorInvalid as error:
            raise TrainingError(f"{image.source_ref}: {error}") from error


def _unknown_colors(images: Sequence[TrainingImage], types: Sequence[str]) -> Iterator[str]:
    """Yield a warning about masks with colours that are missing from their colour maps."""
    found: list[tuple[str, Mask]] = []
    for image in images:
        if image.is_anomalous and image.mask_path is not None:
            try:
                mask = examine_mask(image.mask_path.read_bytes(), image.mask_colors, types)
            except (OSError, LfvError):
                continue  # reported as an error when the mask is needed
            if mask.unknown >= _UNKNOWN:
                found.append((image.source_ref, mask))
    if found:
        ref, mask = found[0]
        yield (
            f"{count_of(len(found), 'mask')} {form_of(len(found), 'shows', 'show')} colours that "
            f"the colour map does not name, such as that of {ref}: {mask.unknown:.1%} of its "
            f"pixels, most of them {mask.unknown_color}. They count as background. Name the "
            "colours in internal-color-map, or repaint the masks."
        )


def _background_color(images: Sequence[TrainingImage], taken: Sequence[str]) -> str:
    """Return the background colour of the colour maps, else white, else the first free colour."""
    named = [color for image in images for color, name in _color_map(image) if is_background(name)]
    return next(c for c in [*named, "#FFFFFF", "#000000", *_GREYS] if c not in taken)


def _sample_range(images: Sequence[TrainingImage]) -> tuple[int, int] | None:
    step = max(1, len(images) // _RANGE_IMAGES)
    try:
        return sample_range_of(_bytes(image) for image in images[::step])
    except ImageRejected as error:
        raise TrainingError(f"An image cannot be read: {error}") from error


def _has_color(images: Sequence[TrainingImage]) -> bool:
    step = max(1, len(images) // 16)
    for image in images[::step]:
        pixels = load(image, (64, 64)).pixels.astype(np.int16)
        if np.abs(pixels - pixels.mean(axis=2, keepdims=True)).mean() > 1.0:
            return True
    return False
