"""A model's answers in the rows of an EvaluationManifest.

The answer's attribute is the label's name followed by `-detected`; its metadata holds class and
confidence. The attribute of the predicted mask, if any, names the anomaly types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfv.formats.answers import is_background
from lfv.formats.manifest.groundtruth import DETECTED, METADATA, label_of
from lfv.formats.manifest.records import LineError, ManifestItem
from lfv.formats.manifest.writing import ORIGINAL_REF
from lfv.formats.parity import ComparedAnswer


def answer_of_row(row: Mapping[str, Any], item: ManifestItem) -> ComparedAnswer:
    """Return the answer in a row; `item` gives its image and label. Raises LineError."""
    for name, metadata in row.items():
        attribute = name.removesuffix(METADATA)
        if attribute == name or not attribute.endswith(DETECTED) or type(metadata) is not dict:
            continue
        is_anomalous = label_of(metadata.get("class-name"))
        if is_anomalous is None:
            continue
        confidence = metadata.get("confidence")
        if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise LineError("answer_invalid", f"{name} has no confidence between 0 and 1.")
        original = row.get(ORIGINAL_REF)
        refs = (item.source_ref, *([original] if isinstance(original, str) else ()))
        return ComparedAnswer(
            refs, is_anomalous, float(confidence), label=item.is_anomalous, areas=_areas(row)
        )
    raise LineError("answer_missing", "The line has no detection result.")


def _areas(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the anomaly types with an area, or those of the predicted mask."""
    for name, metadata in row.items():
        if not name.endswith(DETECTED + METADATA) or type(metadata) is not dict:
            continue
        if isinstance(areas := metadata.get("anomaly-areas"), dict):
            return tuple(sorted(kind for kind in areas if not is_background(kind)))
        if isinstance(colors := metadata.get("internal-color-map"), dict):
            kinds = {
                str(entry.get("class-name")) for entry in colors.values() if type(entry) is dict
            }
            return tuple(sorted(kind for kind in kinds if not is_background(kind)))
    return ()
