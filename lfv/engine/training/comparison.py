"""Figures without and with an optional part, measured on unseen images."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Without and with it.
Pair = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """AUROC and overlap without and with the part; None if it was not tried for them."""

    auroc: Pair | None = field(default=None, kw_only=True)
    #: Mean IoU in the cells; None without masks, too.
    overlap: Pair | None = field(default=None, kw_only=True)

    def figures(self) -> dict[str, float]:
        """Return them for the EvaluationResult's details."""
        found: dict[str, float] = {}
        for name, pair in (("AUROC", self.auroc), ("IoU", self.overlap)):
            if pair is not None:
                found[f"{name}Without"], found[f"{name}With"] = pair
        return found

    def in_words(self, how: str) -> str:
        """Return the figures in brackets, with how they were measured; empty if there are none."""
        tried = []
        if self.auroc is not None:
            tried.append("AUROC {:.3f} without and {:.3f} with it".format(*self.auroc))
        if self.overlap is not None:
            tried.append("IoU in the cells {:.2f} without and {:.2f} with it".format(*self.overlap))
        return f" ({'; '.join(tried)}, {how})" if tried else ""
