"""Builds Ground Truth rows with labels, masks and a model's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfv.formats.answers import is_background
from lfv.formats.manifest.groundtruth import (
    CLASSIFICATION,
    DETECTED,
    METADATA,
    SEGMENTATION,
    SOURCE_REF,
)

LABEL = "anomaly-label"
MASK = "anomaly-mask-ref"
#: The reference of a staged image in its owner's manifest; its source-ref is a hash of its content.
ORIGINAL_REF = "original-source-ref"
_WHITE = "#FFFFFF"


def labelled_row(
    source_ref: str,
    is_anomalous: bool,
    mask_ref: str | None = None,
    mask_colors: Mapping[str, str] | None = None,
    original_ref: str | None = None,
) -> dict[str, Any]:
    """Return the row of a labelled image, with the attribute names of the developer guide."""
    row: dict[str, Any] = {SOURCE_REF: source_ref, LABEL: int(is_anomalous)}
    if original_ref is not None:
        row[ORIGINAL_REF] = original_ref
    row[LABEL + METADATA] = {
        "class-name": "anomaly" if is_anomalous else "normal",
        "confidence": 1,
        "human-annotated": "yes",
        "job-name": f"labeling-job/{LABEL}",
        "type": CLASSIFICATION,
    }
    if mask_ref is not None:
        row[MASK] = mask_ref
        row[MASK + METADATA] = mask_metadata(mask_colors or {})
    return row


def mask_metadata(colors: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of a mask, from its anomaly types by colour."""
    return {
        "internal-color-map": _color_map(colors),
        "human-annotated": "yes",
        "job-name": f"labeling-job/{MASK}",
        "type": SEGMENTATION,
    }


def with_verdict(
    row: Mapping[str, Any],
    label_attribute: str | None,
    *,
    is_anomalous: bool,
    confidence: float,
    areas: Mapping[str, float],
    creation_date: str,
    model: Mapping[str, str],
) -> dict[str, Any]:
    """Return a row of an evaluation manifest: the image's own row plus the model's answer."""
    detected = f"{label_attribute or LABEL}{DETECTED}"
    metadata: dict[str, Any] = {
        "class-name": "anomaly" if is_anomalous else "normal",
        "confidence": confidence,
        "type": CLASSIFICATION,
        "human-annotated": "no",
        "creation-date": creation_date,
        "job-name": "training-job/anomaly-detection",
        **model,
    }
    if areas:
        metadata["anomaly-areas"] = areas
    return {**row, detected: int(is_anomalous), detected + METADATA: metadata}


def _color_map(colors: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the colour map with BACKGROUND first, as the API requires.

    BACKGROUND is left out if an anomaly type is white and no background colour is given.
    """
    named = [color for color, name in colors.items() if is_background(name)]
    background = named[0] if named else ("" if _WHITE in colors else _WHITE)
    ordered = [(background, "BACKGROUND")] if background else []
    ordered += [pair for pair in colors.items() if pair[0] not in named]
    return {
        str(index): {"class-name": name, "hex-color": color.lower(), "confidence": 0.0}
        for index, (color, name) in enumerate(ordered, start=0 if background else 1)
    }
