"""The outcome of a run, as every caller gets it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lfv.formats.evaluation import Evaluation
from lfv_store import RunCounts


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run; `report` is None when the report could not be written."""

    run_id: str
    status: str
    message: str | None
    project: str
    model_version: str
    counts: RunCounts
    evaluation: Evaluation | None = None
    report: Path | None = None

    def markdown(self) -> str:
        """The summary in Markdown."""
        counts = self.counts
        columns = {
            "images": counts.total,
            "accept": counts.accepted,
            "reject": counts.rejected,
            "review": counts.review,
            "not inspected": counts.errors,
            "answers reused": counts.reused,
            "to do": counts.pending,
        }
        lines = [
            f"# {self.project}, model version {self.model_version}: {self.status}",
            "",
            *([self.message, ""] if self.message else []),
            f"| {' | '.join(columns)} |",
            "|" + "--:|" * len(columns),
            f"| {' | '.join(map(str, columns.values()))} |",
            "",
        ]
        if (found := self.evaluation) is not None:
            figures = (
                f"precision {_figure(found.precision)}, recall {_figure(found.recall)}, "
                f"F1 {_figure(found.f1)}, ROC AUC {_figure(found.roc_auc)}"
            )
            lines += [f"Against {found.images} labels: {figures}.", ""]
        lines += [f"Run `{self.run_id}`; report: `{self.report or 'none'}`"]
        return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
