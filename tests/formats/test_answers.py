"""Answers are parsed into plain values, and invalid ones refused."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from lfv.formats.answers import Anomaly, DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid

PNG = b"\x89PNG\r\n\x1a\n and so on"


def segmentation(**changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": True,
        "Confidence": 0.99,
        "Anomalies": [
            {
                "Name": "background",
                "PixelAnomaly": {"TotalPercentageArea": 0.988, "Color": "#FFFFFF"},
            },
            {
                "Name": "cracked",
                "PixelAnomaly": {"TotalPercentageArea": 0.012, "Color": "#23A436"},
            },
        ],
        "AnomalyMask": PNG,
    }
    return {"DetectAnomalyResult": result | changes, "ResponseMetadata": {"RequestId": "r"}}


def test_segmentation() -> None:
    result = DetectAnomalyResult.from_response(segmentation())
    assert result.is_anomalous
    assert result.confidence == 0.99
    assert result.is_segmentation
    assert result.anomalies == (
        Anomaly("background", 0.988, "#FFFFFF"),
        Anomaly("cracked", 0.012, "#23A436"),
    )
    assert [found.name for found in result.defects] == ["cracked"]
    assert result.anomaly_mask == PNG


def test_classification_as_a_flat_object() -> None:
    """What a SageMaker endpoint returns."""
    result = DetectAnomalyResult.from_response(
        {"Source": {"Type": "direct"}, "IsAnomalous": False, "Confidence": 0.75}
    )
    assert not result.is_segmentation
    assert result.defects == ()
    assert result.anomaly_mask is None
    assert result.anomaly_score == 0.25


def test_a_segmentation_without_anomalies_is_a_segmentation() -> None:
    result = DetectAnomalyResult.from_response(segmentation(Anomalies=[]))
    assert result.is_segmentation


def test_round_trip_through_json_keeps_everything_but_the_mask() -> None:
    result = DetectAnomalyResult.from_response(segmentation(Unheard="kept"))
    stored = json.loads(json.dumps(result.to_response()))
    assert stored["Unheard"] == "kept"
    assert "AnomalyMask" not in stored
    assert "ResponseMetadata" not in stored
    assert DetectAnomalyResult.from_response(stored, mask=PNG) == result


def test_a_constructed_answer_has_the_api_form() -> None:
    made = DetectAnomalyResult(
        is_anomalous=True, confidence=0.5, anomalies=(Anomaly("dent", 0.1, "#000001"),)
    )
    again = DetectAnomalyResult.from_response(made.to_response())
    assert again.anomalies == made.anomalies
    assert again.confidence == made.confidence


def test_a_mask_in_base64() -> None:
    encoded = base64.b64encode(PNG).decode()
    result = DetectAnomalyResult.from_response(segmentation(AnomalyMask=encoded))
    assert result.anomaly_mask == PNG


@pytest.mark.parametrize("confidence", [0, 1, 0.0, 1.0, 5e-324])
def test_any_number_from_0_to_1_is_a_confidence(confidence: float) -> None:
    assert DetectAnomalyResult.from_response(
        segmentation(Confidence=confidence)
    ).confidence == float(confidence)


def anomaly(**changes: Any) -> list[dict[str, Any]]:
    pixels = {"TotalPercentageArea": 0.1, "Color": "#000000"} | changes
    return [{"Name": "dent", "PixelAnomaly": pixels}]


@pytest.mark.parametrize(
    "changes",
    [
        {"Confidence": None},
        {"Confidence": "0.9"},
        {"Confidence": True},
        {"Confidence": math.nan},
        {"Confidence": math.inf},
        {"Confidence": -0.001},
        {"Confidence": 1.000001},
        {"Confidence": 99},
        {"IsAnomalous": None},
        {"IsAnomalous": "true"},
        {"IsAnomalous": 1},
        {"Anomalies": "dent"},
        {"Anomalies": ["dent"]},
        {"Anomalies": [{"Name": "dent"}]},
        {"Anomalies": [{"Name": "", "PixelAnomaly": {}}]},
        {"Anomalies": anomaly() + anomaly()},
        {"Anomalies": anomaly(Color="red")},
        {"Anomalies": anomaly(Color=None)},
        {"Anomalies": anomaly(TotalPercentageArea=1.2)},
        {"Anomalies": anomaly(TotalPercentageArea=math.nan)},
        {"Anomalies": anomaly(TotalPercentageArea=None)},
        {"AnomalyMask": b"GIF89a"},
        {"AnomalyMask": "not base64!"},
        {"AnomalyMask": 7},
    ],
)
def test_invalid_answers_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ResponseInvalid) as caught:
        DetectAnomalyResult.from_response(segmentation(**changes))
    assert str(caught.value).startswith("The model's answer")


@pytest.mark.parametrize("answer", [{}, {"DetectAnomalyResult": None}, {"DetectAnomalyResult": []}])
def test_an_empty_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(ResponseInvalid):
        DetectAnomalyResult.from_response(answer)


def test_repr_omits_mask_bytes() -> None:
    assert "PNG" not in repr(DetectAnomalyResult.from_response(segmentation()))
