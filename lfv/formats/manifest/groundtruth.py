"""Ground Truth rows: which image a JSON object names, its label, its mask, its other attributes.

The format is SageMaker Ground Truth's output for image classification and semantic segmentation,
as the Lookout for Vision developer guide narrows it ("Defining JSON lines for image
classification" and "... for image segmentation"). Attributes may have any name; what they are is
said by `type` in the attribute of the same name with `-metadata` behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lfv.formats.errors import SourceError
from lfv.formats.manifest.records import LineError, ManifestItem
from lfv.formats.refs import Ref, resolve_ref

SOURCE_REF = "source-ref"
_METADATA = "-metadata"
_CLASSIFICATION = "groundtruth/image-classification"
_SEGMENTATION = "groundtruth/semantic-segmentation"
_DETECTED = "-detected"  # a model's own answers, in Lookout for Vision's evaluation manifests
_LABELS = {"normal": False, "anomaly": True}
_HEX_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


def label_of(class_name: object) -> bool | None:
    """True for 'anomaly', False for 'normal' (in any case), None for everything else."""
    return _LABELS.get(class_name.strip().casefold()) if isinstance(class_name, str) else None


def resolved(written: object, base: Ref, what: str = SOURCE_REF) -> str:
    """The full form of a reference that a line gives. Raises LineError."""
    if not isinstance(written, str):
        raise LineError("source_ref_invalid", f"{what} is {_type_name(written)}, no text.")
    try:
        return str(resolve_ref(written, base))
    except SourceError as error:
        sentence = str(error)
        raise LineError(error.code, f"{what}: {sentence[0].lower()}{sentence[1:]}") from None


def item_from_row(row: dict[str, Any], number: int, base: Ref) -> ManifestItem:
    """Raises LineError."""
    if SOURCE_REF not in row:
        hint = "; it holds its text inline in source" if "source" in row else ""
        raise LineError("source_ref_missing", f"The line has no source-ref{hint}.")
    written = row[SOURCE_REF]
    source_ref = resolved(written, base)
    labels: dict[str, bool] = {}
    masks: dict[str, Mapping[str, Any]] = {}
    for name, metadata in row.items():
        if type(metadata) is not dict or not name.endswith(_METADATA):
            continue
        attribute = name[: -len(_METADATA)]
        kind = metadata.get("type")
        if kind == _CLASSIFICATION:
            label = label_of(metadata.get("class-name"))
            if label is not None and not attribute.endswith(_DETECTED):
                labels[attribute] = label
        elif kind == _SEGMENTATION and not attribute.removesuffix("-ref").endswith(_DETECTED):
            masks[attribute] = metadata
    mask_ref, mask_colors = _mask(row, masks, base) if masks else (None, {})
    attributes = row.copy()
    del attributes[SOURCE_REF]
    for attribute in (*labels, *masks):
        attributes.pop(attribute, None)
        del attributes[attribute + _METADATA]
    return ManifestItem(
        line_number=number,
        source_ref=source_ref,
        written_ref=written,
        is_anomalous=_one_label(labels),
        mask_ref=mask_ref,
        mask_colors=mask_colors,
        attributes=attributes,
    )


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
    row: dict[str, Any], masks: dict[str, Mapping[str, Any]], base: Ref
) -> tuple[str | None, dict[str, str]]:
    found = {name: metadata for name, metadata in masks.items() if row.get(name) not in (None, "")}
    if not found:
        return None, {}
    if len(found) > 1:
        raise LineError(
            "mask_ambiguous", f"The line has several masks: {', '.join(sorted(found))}."
        )
    name, metadata = next(iter(found.items()))
    return resolved(row[name], base, name), _colors(metadata.get("internal-color-map"))


def _colors(color_map: object) -> dict[str, str]:
    """'#RRGGBB' in upper case -> name, in the order of the map."""
    if not isinstance(color_map, dict):
        raise LineError("mask_colors_invalid", "The mask has no internal-color-map.")
    colors: dict[str, str] = {}
    for entry in color_map.values():
        name = entry.get("class-name") if isinstance(entry, dict) else None
        color = entry.get("hex-color") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise LineError("mask_colors_invalid", "internal-color-map has an entry without name.")
        if not isinstance(color, str) or not _HEX_COLOR.fullmatch(color):
            raise LineError(
                "mask_colors_invalid", f"internal-color-map gives {name[:80]!r} no colour #RRGGBB."
            )
        if colors.setdefault(color.upper(), name) != name:
            raise LineError(
                "mask_colors_invalid", f"internal-color-map gives the colour {color} two names."
            )
    return colors


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")
