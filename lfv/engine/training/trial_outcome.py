"""The outcome of trying an optional part: whether it is used, and the figures behind that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Without and with the part.
Pair = tuple[float, float]


@dataclass(frozen=True)
class TrialOutcome:
    """Where a model uses an optional part, and figures without and with it on unseen images."""

    #: Its name at the start of sentences: "The backbone 0123456789ab".
    name: str
    #: How the figures were measured: "out of fold".
    measured: str
    #: SHA-256 of its ONNX file, in hex; None for a part that the training makes.
    sha256: str | None = None
    in_verdicts: bool = False
    in_masks: bool = False
    #: None if it was not tried for verdicts.
    auroc: Pair | None = None
    #: Mean IoU in the cells; None if it was not tried for masks.
    overlap: Pair | None = None

    @property
    def is_used(self) -> bool:
        """Whether the model uses it."""
        return self.in_verdicts or self.in_masks

    def to_json(self) -> dict[str, Any]:
        """Return the entry for the EvaluationResult's details."""
        known = {} if self.sha256 is None else {"Name": self.name, "Sha256": self.sha256}
        found: dict[str, Any] = {**known, "Used": self.is_used}
        for name, pair in (("AUROC", self.auroc), ("IoU", self.overlap)):
            if pair is not None:
                found[f"{name}Without"], found[f"{name}With"] = pair
        return found

    def sentence(self) -> str:
        """Return a sentence for the report and the status message."""
        tried = []
        if self.auroc is not None:
            tried.append("AUROC {:.3f} without and {:.3f} with it".format(*self.auroc))
        if self.overlap is not None:
            tried.append("IoU in the cells {:.2f} without and {:.2f} with it".format(*self.overlap))
        found = f" ({'; '.join(tried)}, {self.measured})" if tried else ""
        if self.is_used:
            roles = (("verdicts", self.in_verdicts), ("masks", self.in_masks))
            uses = " and ".join(name for name, used in roles if used)
            return f"{self.name} is used for {uses}{found}."
        if not tried:
            why = "there is nothing to improve, or nothing to measure it on"
            return f"{self.name} is not used: {why}."
        return f"{self.name} is not used, because it does not help enough{found}."
