"""What an endpoint of the algorithm answers.

A classification model answers a flat object; that of a segmentation model is documented nowhere. So
the verdict has to be there, and the rest is used where it can be read: what is odd about anomalies
or masks stays in the raw answer and is not fatal.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid

_OPTIONAL = ("Anomalies", "AnomalyMask")


def parse_answer(body: bytes) -> DetectAnomalyResult:
    """The answer in `body`. Raises ResponseInvalid when it holds no usable verdict."""
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
