"""Parses the answers of the algorithm's endpoints.

A classification model returns a flat object. The answer of a segmentation model is not documented.
So only the verdict is required; anomalies and masks are used if they are valid, and otherwise stay
in the raw answer.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid

_OPTIONAL = ("Anomalies", "AnomalyMask")


def parse_answer(body: bytes) -> DetectAnomalyResult:
    """Parse an answer. Raises ResponseInvalid if it has no usable verdict."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ResponseInvalid("The endpoint's answer is not JSON.") from error
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise ResponseInvalid("The endpoint's answer is not a JSON object.")
    result = answer.get("DetectAnomalyResult", answer)
    try:
        return DetectAnomalyResult.from_response(answer)
    except ResponseInvalid:
        if not isinstance(result, dict) or not any(name in result for name in _OPTIONAL):
            raise
    verdict = {name: value for name, value in result.items() if name not in _OPTIONAL}
    return replace(DetectAnomalyResult.from_response(verdict), raw=dict[str, Any](result))
