"""Options of one training, which travel as tags of CreateModel.

CreateModel has no member for them, and every SDK sends tags. A service that does not know the tags
stores them like any others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

PREFIX = "lfv:train:"
#: What a refusal of a network says.
NEEDS_TORCH = "needs PyTorch, which is not installed: pip install 'lfv-pipeline[network]'"
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class TrainingRequest:
    """What a request says about its training; None leaves an option to the service.

    `backbone` and `detector` are the SHA-256 digests of ONNX files, as `onnx_digest` returns them.
    """

    network: bool | None = None
    pretrained: bool | None = None
    miss_cost: float | None = None
    false_alarms: float | None = None
    backbone: str | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range or that exclude each other."""
        if self.backbone is not None and self.detector is not None:
            raise ValueError("a detector is not trained: give a backbone or a detector, not both")
        if self.network and self.detector is not None:
            raise ValueError("a detector is not trained: give a detector or a network, not both")
        if self.miss_cost is not None and not 0.01 <= self.miss_cost <= 100:
            raise ValueError("the cost of a missed defect must be from 0.01 to 100 false alarms")
        if self.false_alarms is not None and not 0 < self.false_alarms <= 0.5:
            raise ValueError("the rate of false alarms must be above 0 and at most 0.5")

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> TrainingRequest:
        """Read the options among a model's tags. Raises ValueError."""
        given = {
            key.removeprefix(PREFIX): value for key, value in tags.items() if key.startswith(PREFIX)
        }
        if unknown := sorted(given.keys() - NAMES):
            raise ValueError(f"{PREFIX}{unknown[0]} is not an option of trainings")
        return cls(
            network=_truth(given, "network"),
            pretrained=_truth(given, "pretrained"),
            miss_cost=_number(given, "miss_cost"),
            false_alarms=_number(given, "false_alarms"),
            backbone=_digest(given, "backbone"),
            detector=_digest(given, "detector"),
        )

    def to_tags(self) -> dict[str, str]:
        """Return the tags of the options that are given."""
        given = {name: getattr(self, name) for name in sorted(NAMES)}
        return {
            PREFIX + name: str(value).lower() for name, value in given.items() if value is not None
        }


NAMES = frozenset(field.name for field in fields(TrainingRequest))


def _truth(given: Mapping[str, str], name: str) -> bool | None:
    value = given.get(name)
    if value not in (None, "true", "false"):
        raise ValueError(f"{PREFIX}{name} is true or false, not {value!r}")
    return None if value is None else value == "true"


def _number(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{PREFIX}{name} is a number, not {value!r}")
    return number


def _digest(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not _SHA256.fullmatch(value):
        raise ValueError(f"{PREFIX}{name} is the SHA-256 of a file, not {value!r}")
    return value
