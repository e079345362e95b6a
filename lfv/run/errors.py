"""Why a run, or another operation on models and runs, fails.

InspectionError            base; its text is one sentence for the user
├── ServiceNotStarted      the embedded service did not start
├── GuardNotStarted        the process that stops the model after a crash did not start
├── NotImportable          a source that cannot be imported that way
├── NotComparable          two sets of answers without an image in common
├── NotSpreadable          other processes cannot share detection of this run
├── WorkersLost            processes that share detection died or cannot report
├── RunNotFound            no run, or more than one, has the given id
├── RunNotResumable        the run's model or manifest has changed
├── NoVerdict              the run ended without a single verdict
│   ├── NothingInspected   none of its images could be inspected
│   └── SourceEmpty        its source has no image
├── LimitReached           the run's cost or time limit; the rest can be resumed
├── EndedByOperator        somebody ended it, or nobody wanted to go on; the rest can be resumed
├── ModelLost              the model was stopped under the run too often
├── ModelInUse             runs use a model that is to be stopped, or may use it
├── ModelsLeftUp           a sweep found models that are up and unused
├── SourceOutOfReach       the images' store does not answer
├── SourceNotWatchable     new images cannot be told apart in such a source
├── ModelOutOfReach        the model's host does not answer
└── ResultsNotStored       the results database is unavailable
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lfv.run.summary import RunSummary


class InspectionError(Exception):
    """Base class; `summary` is the outcome of the run that ended this way, where there is one."""

    summary: RunSummary | None = None


class ServiceNotStarted(InspectionError):
    """The embedded service did not start."""


class GuardNotStarted(InspectionError):
    """The process that would stop the model after a crash of the run did not start."""


class NotImportable(InspectionError):
    """The source cannot be imported that way."""


class NotComparable(InspectionError):
    """Two sets of answers have no image in common."""


class NotSpreadable(InspectionError):
    """Other processes cannot share detection of this run."""


class WorkersLost(InspectionError):
    """Processes that share detection died, or cannot report; the rest can be resumed."""


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
    """The model was stopped by force, or too much was rejected and nobody wanted to go on."""


class ModelLost(InspectionError):
    """The model was stopped under the run too often."""


class ModelInUse(InspectionError):
    """Runs use a model that is to be stopped, or may use it."""


class ModelsLeftUp(InspectionError):
    """A sweep found models that are up and unused, and did not stop them."""


class SourceOutOfReach(InspectionError):
    """The images' store does not answer; nothing is wrong with the images."""


class SourceNotWatchable(InspectionError):
    """New images are found in folders and below prefixes only."""


class ModelOutOfReach(InspectionError):
    """The model's host does not answer; nothing is wrong with the images."""


class ResultsNotStored(InspectionError):
    """The results database was unavailable for longer than the run waits for it."""
