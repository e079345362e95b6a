"""A host of the Lookout for Vision API at a scripted endpoint."""

from __future__ import annotations

from typing import Any

from lfv.client.clock import Backoff
from lfv.client.hosts import HostSpec
from lfv.client.retry import RetryPolicy
from tests.client.conftest import ScriptedApi
from tests.support.waiting import PLENTY

QUICK = RetryPolicy(attempts=4, timeout=PLENTY, backoff=Backoff(0.001, 1, 0.001))


def spec(api: ScriptedApi, version: str = "2", **options: Any) -> HostSpec:
    return HostSpec("lookoutvision", "cookies", version, api.url, "us-east-1", options)


ANSWER = {
    "DetectAnomalyResult": {
        "Source": {"Type": "direct"},
        "IsAnomalous": True,
        "Confidence": 0.93,
        "Anomalies": [
            {
                "Name": "cracked",
                "PixelAnomaly": {"TotalPercentageArea": 0.01, "Color": "#23A436"},
            }
        ],
        "AnomalyMask": "iVBORw0KGgo=",
    }
}
