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
#: Tag that says how images of other sizes were fitted before the service got them.
FITTED = "lfv:fitted"
#: The message of a refused network.
NEEDS_TORCH = "needs PyTorch, which is not installed: pip install 'lfv-pipeline[network]'"
#: Cost of a missed defect in false alarms: default, least and most.
MISS_COST, LEAST_MISS_COST, MOST_MISS_COST = 1.0, 0.01, 100.0
#: Accepted false-alarm rate of models trained on normal images only: default and most.
FALSE_ALARMS, MOST_FALSE_ALARMS = 0.02, 0.5
_SHA256 = re.compile("[0-9a-f]{64}")
_SHORT = 12
_WITH_NETWORK: dict[bool | None, str] = {True: "with a network", False: "without a network"}
_WITH_BACKBONE: dict[bool | None, str] = {
    True: "with the pretrained backbone",
    False: "without the pretrained backbone",
}


@dataclass(frozen=True)
class TrainingRequest:
    """A request's options of its training; None leaves an option to the service.

    `backbone` and `detector` are the SHA-256 digests of ONNX files, as `onnx_digest` returns them.
    `fitted`, such as `scaled to 640x480`, is not an option of the service, which only reports it.
    """

    network: bool | None = None
    pretrained: bool | None = None
    miss_cost: float | None = None
    false_alarms: float | None = None
    backbone: str | None = None
    detector: str | None = None
    fitted: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range or that exclude each other."""
        if self.backbone is not None and self.detector is not None:
            raise ValueError("a detector is not trained: give a backbone or a detector, not both")
        if self.network and self.detector is not None:
            raise ValueError("a detector is not trained: give a detector or a network, not both")
        cost, rate = self.miss_cost, self.false_alarms
        if cost is not None and not LEAST_MISS_COST <= cost <= MOST_MISS_COST:
            raise ValueError(
                f"the cost of a missed defect must be from {LEAST_MISS_COST:g} to "
                f"{MOST_MISS_COST:g} false alarms"
            )
        if rate is not None and not 0 < rate <= MOST_FALSE_ALARMS:
            raise ValueError(
                f"the rate of false alarms must be above 0 and at most {MOST_FALSE_ALARMS:g}"
            )

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
            fitted=tags.get(FITTED),
        )

    def to_tags(self) -> dict[str, str]:
        """Return the tags of the options that are given."""
        given = {name: getattr(self, name) for name in sorted(NAMES)}
        tags = {
            PREFIX + name: str(value).lower() for name, value in given.items() if value is not None
        }
        return tags | ({} if self.fitted is None else {FITTED: self.fitted})

    def words(self) -> tuple[str, ...]:
        """Return the options that are given, in words, ONNX files by the start of their digest."""
        rate = None if self.false_alarms is None else f"{100 * self.false_alarms:g} %"
        false_alarms = "false alarm" if self.miss_cost == 1 else "false alarms"
        given = (
            self.miss_cost and f"a missed defect costs {self.miss_cost:g} {false_alarms}",
            rate and f"{rate} of normal images may be false alarms",
            _WITH_NETWORK.get(self.network),
            _WITH_BACKBONE.get(self.pretrained),
            self.backbone and f"backbone {self.backbone[:_SHORT]}",
            self.detector and f"detector {self.detector[:_SHORT]}",
            self.fitted and f"other sizes {self.fitted}",
        )
        return tuple(option for option in given if option)


#: The options of the service.
NAMES = frozenset(field.name for field in fields(TrainingRequest)) - {"fitted"}


def _truth(given: Mapping[str, str], name: str) -> bool | None:
    value = given.get(name)
    if value not in (None, "true", "false"):
        raise ValueError(f"{PREFIX}{name} must be true or false, not {value!r}")
    return None if value is None else value == "true"


def _number(given: Mapping[str, str], name: str) -> float | None:
    value = given.get(name)
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{PREFIX}{name} must be a number, not {value!r}")
    return number


def _digest(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not _SHA256.fullmatch(value):
        raise ValueError(f"{PREFIX}{name} must be the SHA-256 of a file, not {value!r}")
    return value
