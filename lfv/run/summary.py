"""The outcome of a run, for all its callers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lfv.formats.evaluation import Evaluation
from lfv.formats.folder_layout import Skipped
from lfv.formats.words import count_of
from lfv_store import RunCounts

#: The message of a run over new images that found none.
NOTHING_NEW = "nothing new"


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run.

    `skipped` is the number of files that were not inspected, by reason. `report` is None if the
    report could not be written, `report_url` if the pages have no known address. `approval` says
    who approved the version, if the run took it because of an approval.
    """

    run_id: str
    status: str
    message: str | None
    project: str
    model_version: str
    counts: RunCounts
    evaluation: Evaluation | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    report: Path | None = None
    report_url: str | None = None
    approval: str | None = None

    @property
    def nothing_new(self) -> bool:
        """Whether this run over new images found none."""
        return self.status == "completed" and self.message == NOTHING_NEW

    def markdown(self) -> str:
        """Return the summary in Markdown."""
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
            *([f"Version {self.model_version} is {self.approval}.", ""] if self.approval else []),
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
            lines += [f"Against {count_of(found.images, 'label')}: {figures}.", ""]
        if self.skipped:
            lines += [str(Skipped(Counter(self.skipped))), ""]
        if counts.pending:
            resume = (
                f"To finish ({count_of(counts.pending, 'image')} left), run the deployment "
                f"`resume-inspection/resume` with `run` = `{self.run_id}`, or "
                f"`lfv inspect --resume {self.run_id}`."
            )
            lines += [resume, ""]
        lines += [f"Run `{self.run_id}`; {self._location()}"]
        return "\n".join(lines)

    def _location(self) -> str:
        """Return the place of the report, as a link if browsers can reach it."""
        if self.report is not None and self.report_url is not None:
            return f"[report]({self.report_url})"
        return f"report: `{self.report or 'none'}`"


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
