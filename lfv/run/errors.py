"""Errors of runs and of other operations on models and runs.

InspectionError            base; its text is one sentence for the user
├── ServiceNotStarted      the embedded service did not start
├── GuardNotStarted        the process that stops the model after a crash did not start
├── NotImportable          the source cannot be imported in this way
├── NotComparable          two sets of answers have no image in common
├── NotSpreadable          other processes cannot share this run's detection
├── WorkersLost            processes that share detection died or cannot report
├── RunNotFound            no run, or more than one, has the given id
├── RunNotResumable        the run's model or manifest has changed
├── NoVerdict              the run ended without a single verdict
│   ├── NothingInspected   none of its images could be inspected
│   └── SourceEmpty        its source has no image
├── LimitReached           the run's cost or time limit; the rest can be resumed
├── EndedByOperator        a person ended it, or did not continue it; the rest can be resumed
├── ModelLost              the model was stopped too often while the run used it
├── ModelNotApproved       the model of the approved version is another one
├── ModelInUse             the model to stop is, or may be, used by runs
├── ModelsLeftUp           a sweep found models that are up and unused
├── SourceOutOfReach       the storage of the images does not answer
├── SourceNotWatchable     new images cannot be detected in this kind of source
├── ModelOutOfReach        the model's host does not answer
└── ResultsNotStored       the results database is unavailable
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfv.run.summary import RunSummary


class InspectionError(Exception):
    """Base class; `summary` is the outcome of the run, if there is one."""

    summary: RunSummary | None = None


class ServiceNotStarted(InspectionError):
    """The embedded service did not start."""


class GuardNotStarted(InspectionError):
    """The process that would stop the model after a crash of the run did not start."""


class NotImportable(InspectionError):
    """The source cannot be imported in this way."""


class NotComparable(InspectionError):
    """Two sets of answers have no image in common."""


class NotSpreadable(InspectionError):
    """Other processes cannot share this run's detection."""


class WorkersLost(InspectionError):
    """Processes that share detection died or cannot report; the rest can be resumed."""


class RunNotFound(InspectionError):
    """No run, or more than one, has the given id."""


class RunNotResumable(InspectionError):
    """The model or the manifest of a run has changed since the run was started."""


class NoVerdict(InspectionError):
    """A run ended without a single verdict."""


class NothingInspected(NoVerdict):
    """None of the images of a run could be inspected."""


class SourceEmpty(NoVerdict):
    """The source of a run has no image."""


class LimitReached(InspectionError):
    """The run's cost or time limit was reached; the rest can be resumed."""


class EndedByOperator(InspectionError):
    """The model was stopped by force, or a person ended a run with many rejects."""


class ModelLost(InspectionError):
    """The model was stopped too often while the run used it."""


class ModelNotApproved(InspectionError):
    """The model that has the approved version is not the one that was approved."""


class ModelInUse(InspectionError):
    """The model to stop is, or may be, used by runs."""


class ModelsLeftUp(InspectionError):
    """A sweep found models that are up and unused, and did not stop them."""


class SourceOutOfReach(InspectionError):
    """The storage of the images does not answer; the images themselves may be fine."""


class SourceNotWatchable(InspectionError):
    """New images are found in folders and below prefixes only."""


class ModelOutOfReach(InspectionError):
    """The model's host does not answer; the images themselves may be fine."""


class ResultsNotStored(InspectionError):
    """The results database was unavailable for longer than the run waits for it."""
