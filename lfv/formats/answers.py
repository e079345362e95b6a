"""A model's answer for one image.

It follows DetectAnomalyResult (API reference, 2020-11-20). Note that `confidence` is the confidence
in this verdict, not the probability of an anomaly, and that `total_percentage_area` is a fraction
from 0 to 1, despite its name. Classification and segmentation are independent: neither follows from
the other.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lfv.formats.errors import ResponseInvalid
from lfv.formats.image_headers import PNG_SIGNATURE

BACKGROUND = "background"
_BACKGROUND_NAMES = frozenset({BACKGROUND, "normal"})
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_MASK, _MAP = "AnomalyMask", "AnomalyMap"


def is_background(name: str) -> bool:
    """Whether the name of a mask's colour or of an anomaly means background."""
    return name.strip().casefold() in _BACKGROUND_NAMES


def anomaly_score(is_anomalous: bool, confidence: float) -> float:
    """Convert a confidence to a score from 0 (surely normal) to 1 (surely anomalous)."""
    return confidence if is_anomalous else 1.0 - confidence


@dataclass(frozen=True)
class Anomaly:
    """An anomaly type in an answer, with its share of the image (0 to 1) and colour in the mask."""

    name: str
    total_percentage_area: float
    color: str


@dataclass(frozen=True)
class DetectAnomalyResult:
    """A parsed answer.

    `anomalies` is None for a classification model. For a segmentation model it lists the anomaly
    types, `background` included, in the order of the answer. `anomaly_mask` is a PNG of the image's
    dimensions. `anomaly_map` is a heat map, a grey PNG with the image's aspect; it is an extension
    of this project's service and returned only on request. `raw` is the answer as the API sent it,
    ready for JSON, without the mask's bytes.
    """

    is_anomalous: bool
    confidence: float
    anomalies: tuple[Anomaly, ...] | None = None
    anomaly_mask: bytes | None = field(default=None, repr=False)
    anomaly_map: bytes | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_segmentation(self) -> bool:
        return self.anomalies is not None

    @property
    def defects(self) -> tuple[Anomaly, ...]:
        """The anomalies, without `background`."""
        return tuple(found for found in self.anomalies or () if not is_background(found.name))

    @property
    def anomaly_score(self) -> float:
        """The confidence as a score from 0 (surely normal) to 1 (surely anomalous)."""
        return anomaly_score(self.is_anomalous, self.confidence)

    @classmethod
    def from_response(
        cls, response: Mapping[str, Any], *, mask: bytes | None = None
    ) -> DetectAnomalyResult:
        """Parse an answer of DetectAnomalies.

        Accepts boto3's response, the DetectAnomalyResult in it, the flat object of a SageMaker
        endpoint, and the result of `to_response`, whose mask is passed as `mask`. Raises
        ResponseInvalid for an invalid answer.
        """
        result = response.get("DetectAnomalyResult", response)
        if not isinstance(result, Mapping):
            raise ResponseInvalid("The model's answer has no DetectAnomalyResult.")
        is_anomalous = result.get("IsAnomalous")
        if not isinstance(is_anomalous, bool):
            raise ResponseInvalid(
                f"The model's answer has no usable IsAnomalous (got {_show(is_anomalous)})."
            )
        anomalies = _anomalies(result.get("Anomalies"))
        heat_map = _png(result, _MAP)
        found_mask = _png(result, _MASK) or _png({_MASK: mask}, _MASK)
        return cls(
            is_anomalous=is_anomalous,
            confidence=_fraction(result.get("Confidence"), "Confidence"),
            anomalies=anomalies,
            anomaly_mask=found_mask,
            anomaly_map=heat_map,
            raw=_raw(result, heat_map),
        )

    def to_response(self) -> dict[str, Any]:
        """Return the answer in the API's shape, ready for JSON.

        `AnomalyMask`, which is binary, is left out; see `anomaly_mask`. An `AnomalyMap` that came
        with the answer is kept, in base64.
        """
        if self.raw:
            return dict(self.raw)
        response: dict[str, Any] = {
            "Source": {"Type": "direct"},
            "IsAnomalous": self.is_anomalous,
            "Confidence": self.confidence,
        }
        if self.anomalies is not None:
            response["Anomalies"] = [
                {
                    "Name": anomaly.name,
                    "PixelAnomaly": {
                        "TotalPercentageArea": anomaly.total_percentage_area,
                        "Color": anomaly.color,
                    },
                }
                for anomaly in self.anomalies
            ]
        return response


def _raw(result: Mapping[str, Any], heat_map: bytes | None) -> dict[str, Any]:
    left_out = (_MASK, _MAP, "ResponseMetadata")
    raw = {key: value for key, value in result.items() if key not in left_out}
    if heat_map is not None:
        raw[_MAP] = base64.b64encode(heat_map).decode()
    return raw


def _anomalies(value: object) -> tuple[Anomaly, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ResponseInvalid(f"The model's answer has unusable Anomalies (got {_show(value)}).")
    found = []
    names: set[str] = set()
    for entry in value:
        pixels = entry.get("PixelAnomaly") if isinstance(entry, Mapping) else None
        name = entry.get("Name") if isinstance(entry, Mapping) else None
        if not isinstance(pixels, Mapping) or not isinstance(name, str) or not name:
            raise ResponseInvalid("The model's answer has an anomaly without name or pixels.")
        if name in names:
            raise ResponseInvalid(f"The model's answer names the anomaly {name!r} twice.")
        names.add(name)
        color = pixels.get("Color")
        if not isinstance(color, str) or not _COLOR.fullmatch(color):
            raise ResponseInvalid(
                f"The model's answer has an unusable colour for {name!r} (got {_show(color)})."
            )
        area = _fraction(pixels.get("TotalPercentageArea"), f"TotalPercentageArea of {name!r}")
        found.append(Anomaly(name, area, color))
    return tuple(found)


def _fraction(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ResponseInvalid(f"The model's answer has no usable {what} (got {_show(value)}).")
    number = float(value)
    if not (math.isfinite(number) and 0.0 <= number <= 1.0):
        raise ResponseInvalid(
            f"The model's answer has a {what} outside 0 to 1 (got {_show(value)})."
        )
    return number


def _png(result: Mapping[str, Any], name: str) -> bytes | None:
    """Return the PNG in a member, which holds bytes or base64; None if it is missing."""
    value = result.get(name)
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ResponseInvalid(f"The model's answer contains an unreadable {name}.") from error
    if not isinstance(value, bytes | None):
        raise ResponseInvalid(f"The model's answer contains an unreadable {name}.")
    if value and not value.startswith(PNG_SIGNATURE):
        raise ResponseInvalid(f"The model's answer contains an {name} that is not a PNG.")
    return value or None


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
