"""Reads the image, label, mask and other attributes from rows of a Ground Truth manifest.

The format is SageMaker Ground Truth's output for image classification and semantic segmentation,
as narrowed by the Lookout for Vision developer guide ("Defining JSON lines for image
classification" and "... for image segmentation"). Attributes may have any name. Their meaning is in
their metadata, an attribute of the same name followed by `-metadata`. Real manifests deviate from
the guide; docs/manifests.md lists how each deviation is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lfv.formats.answers import is_background
from lfv.formats.errors import SourceError
from lfv.formats.folder_layout import ANOMALY_TYPE
from lfv.formats.labels import USUAL, LabelNames
from lfv.formats.manifest.columns import IMAGE_CELL, Columns, Label
from lfv.formats.manifest.records import LineError, ManifestItem, printable
from lfv.formats.masks import plain_colors
from lfv.formats.refs import Ref, resolve_ref

SOURCE_REF = "source-ref"
METADATA = "-metadata"
CLASSIFICATION = "groundtruth/image-classification"
SEGMENTATION = "groundtruth/semantic-segmentation"
#: Suffix of a model's answers in Lookout for Vision's evaluation manifests.
DETECTED = "-detected"
#: Attribute with a sentence that says why the line's label or mask is ignored.
LABEL_PROBLEM = "label-problem"
#: Characters in the name of an anomaly type.
MAX_TYPE_NAME = 256
#: Lookout for Vision's quota.
MAX_TYPES_PER_MASK = 20

_LABELS = {"normal": False, "anomaly": True}
_HEX_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class Profile:
    """How strictly labels and masks are read.

    Attributes:
        needs_sound_labels: Refuse a line whose labels contradict each other or whose mask
            reference or colour map is invalid. Otherwise the image is read without them, and the
            attribute LABEL_PROBLEM says why.
        max_types: Maximum number of anomaly types of one mask; None for no limit.
        names: Names for normal and anomalous in addition to the usual ones.
        looks_at_masks: Read the masks of images without a label, in folders and tables, to find
            out whether they are anomalous.
    """

    needs_sound_labels: bool
    max_types: int | None = None
    names: LabelNames = USUAL
    looks_at_masks: bool = True


#: Refuses doubtful lines, as the API did, so that no model learns from them.
TRAINING = Profile(needs_sound_labels=True, max_types=MAX_TYPES_PER_MASK)
#: Ignores wrong labels. An inspection needs none, so only the comparison with them is lost.
INSPECTION = Profile(needs_sound_labels=False)


def label_of(class_name: object) -> bool | None:
    """Return True for 'anomaly', False for 'normal' (ignoring case), None for anything else."""
    return _LABELS.get(class_name.strip().casefold()) if isinstance(class_name, str) else None


def resolved(written: object, base: Ref | None, what: str = SOURCE_REF) -> str:
    """Return the full form of a reference on a line. Raises LineError."""
    if not isinstance(written, str):
        raise LineError("source_ref_invalid", f"{what} is {_type_name(written)}, not text.")
    try:
        return str(resolve_ref(written, base))
    except SourceError as error:
        sentence = str(error)
        shown = f"{what} {printable(written)[:60]!r}"
        raise LineError(error.code, f"{shown}: {sentence[0].lower()}{sentence[1:]}") from None


def item_from_row(
    row: dict[str, Any], number: int, base: Ref | None, profile: Profile = INSPECTION
) -> ManifestItem:
    """Return the item in the JSON object of line `number`.

    Args:
        base: The folder or prefix of the manifest; None to allow only `s3://` references.

    Raises:
        LineError: The line names no image, or has an unusable label or mask although the profile
            needs sound labels.
    """
    if SOURCE_REF not in row:
        flat = None if base is None else _flat_row(row, number, base, profile.names)
        if flat is not None:
            return flat
        hint = "; its text is inline, in source" if "source" in row else ""
        raise LineError("source_ref_missing", f"The line has no source-ref{hint}.")
    source_ref = resolved(row[SOURCE_REF], base)
    labels: dict[str, bool] = {}
    masks: dict[str, Mapping[str, Any]] = {}
    classified = found_label = None
    for name, metadata in row.items():
        if type(metadata) is not dict or not name.endswith(METADATA):
            continue
        attribute = name[: -len(METADATA)]
        if attribute.removesuffix("-ref").endswith(DETECTED):
            continue
        kind = metadata.get("type")
        if kind is None:  # often omitted, but other members imply it
            kind = SEGMENTATION if "internal-color-map" in metadata else CLASSIFICATION
        if kind == CLASSIFICATION:
            name_of_class = metadata.get("class-name")
            label = label_of(name_of_class)
            if label is None and isinstance(name_of_class, str):
                label = profile.names.given(name_of_class)
            if label is not None:
                labels[attribute] = label
            elif classified is None and isinstance(name_of_class, str):
                classified, found_label = attribute, name_of_class
        elif kind == SEGMENTATION:
            masks[attribute] = metadata
    attributes = row.copy()
    del attributes[SOURCE_REF]
    for attribute in (*labels, *masks):
        attributes.pop(attribute, None)
        del attributes[attribute + METADATA]
    is_anomalous: bool | None = None
    mask_ref: str | None = None
    mask_colors: dict[str, str] = {}
    try:
        is_anomalous = _one_label(labels)
        if masks:
            mask_ref, mask_colors = _mask(row, masks, base, profile)
    except LineError as error:
        if profile.needs_sound_labels:
            raise
        attributes[LABEL_PROBLEM] = str(error)
    return ManifestItem(
        line_number=number,
        source_ref=source_ref,
        written_ref=row[SOURCE_REF],
        is_anomalous=is_anomalous,
        mask_ref=mask_ref,
        mask_colors=mask_colors,
        attributes=attributes,
        label_attribute=next(iter(labels), classified),
        found_label=None if labels else found_label,
    )


def flat_item(
    columns: Columns,
    values: Sequence[Any],
    number: int,
    base: Ref,
    words: LabelNames,
) -> ManifestItem:
    """Return the item in a row of a table: an image, and perhaps its label and mask.

    Raises LineError.
    """
    at = columns.source or 0
    written = values[at].strip() if isinstance(values[at], str) else values[at]
    label = Label() if columns.label is None else columns.read_label(values[columns.label], words)
    used = {at}
    if columns.label is not None and label.is_anomalous is not None:
        used.add(columns.label)
    mask = values[columns.mask] if columns.mask is not None else ""
    mask = mask.strip() if isinstance(mask, str) else ""
    if columns.mask is not None:
        used.add(columns.mask)
    mask_ref = resolved(mask, base, "mask") if mask else None
    attributes = {
        name: value
        for at, (name, value) in enumerate(zip(columns.names, values, strict=True))
        if at not in used and name
    }
    if label.anomaly_type is not None:
        attributes[ANOMALY_TYPE] = label.anomaly_type
    return ManifestItem(
        line_number=number,
        source_ref=resolved(written, base, columns.names[at]),
        written_ref=written,
        is_anomalous=label.is_anomalous,
        mask_ref=mask_ref,
        mask_colors=plain_colors(label.anomaly_type) if mask_ref else {},
        plain_masks=(mask_ref,) if mask_ref is not None else (),
        attributes=attributes,
        found_label=label.unknown,
    )


def _flat_row(
    row: Mapping[str, Any], number: int, base: Ref, words: LabelNames
) -> ManifestItem | None:
    """Read a row of plain values, as other tools write it; return None if it names no image."""
    columns = Columns.named(list(row))
    if columns.source is None or any(name.endswith(METADATA) for name in row):
        return None
    values = list(row.values())
    image = values[columns.source]
    if not isinstance(image, str) or not IMAGE_CELL.match(image):
        return None
    if (label := columns.label) is not None:
        if isinstance(values[label], dict | list):
            columns = replace(columns, label=None)
        else:
            values[label] = "" if values[label] is None else str(values[label])
    return flat_item(columns, values, number, base, words)


def labelled_at(row: Mapping[str, Any], attribute: str | None) -> datetime | None:
    """Return the time of the label in `attribute`; None if its metadata has no readable date."""
    metadata = row.get(f"{attribute}{METADATA}")
    value = metadata.get("creation-date") if isinstance(metadata, dict) else None
    if not isinstance(value, str):
        return None
    text = re.sub(r"\s*\(.*\)$", "", value.strip())
    for parse in (
        datetime.fromisoformat,
        lambda text: datetime.strptime(text, "%a %b %d %Y %H:%M:%S GMT%z"),  # JavaScript's Date
    ):
        with suppress(ValueError):
            moment = parse(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _one_label(labels: dict[str, bool]) -> bool | None:
    if not labels:
        return None
    if len(labels) > 1 and len(set(labels.values())) > 1:
        names = ", ".join(sorted(labels))
        raise LineError(
            "label_ambiguous", f"The labels of the line contradict each other: {names}."
        )
    return next(iter(labels.values()))


def _mask(
    row: dict[str, Any], masks: dict[str, Mapping[str, Any]], base: Ref | None, profile: Profile
) -> tuple[str | None, dict[str, str]]:
    found = {name: metadata for name, metadata in masks.items() if row.get(name) not in (None, "")}
    if not found:
        return None, {}
    if len(found) > 1:
        raise LineError(
            "mask_ambiguous", f"The line has several masks: {', '.join(sorted(found))}."
        )
    name, metadata = next(iter(found.items()))
    ref, colors = resolved(row[name], base, name), _colors(metadata.get("internal-color-map"))
    types = {kind for kind in colors.values() if not is_background(kind)}
    if profile.max_types is not None and len(types) > profile.max_types:
        raise LineError(
            "mask_colors_invalid",
            f"internal-color-map has {len(types)} anomaly types; {profile.max_types} are allowed.",
        )
    return ref, colors


def _colors(color_map: object) -> dict[str, str]:
    """Map '#RRGGBB' in upper case to names, in the order of the map."""
    if not isinstance(color_map, dict):
        raise LineError("mask_colors_invalid", "The mask has no internal-color-map.")
    colors: dict[str, str] = {}
    for key, entry in color_map.items():
        name = entry.get("class-name") if isinstance(entry, dict) else None
        color = entry.get("hex-color") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_TYPE_NAME:
            raise LineError(
                "mask_colors_invalid", f"internal-color-map: entry {key[:80]!r} has no class-name."
            )
        if not isinstance(color, str) or not _HEX_COLOR.fullmatch(color):
            if is_background(name):
                continue
            raise LineError(
                "mask_colors_invalid",
                f"internal-color-map: {name[:80]!r} has no hex-color such as #23A436.",
            )
        if colors.setdefault(color.upper(), name) != name:
            raise LineError(
                "mask_colors_invalid", f"internal-color-map has two names for the colour {color}."
            )
    return colors


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")
