"""What can go wrong between a run and its model.

InspectionError                base: one clear sentence, no traceback is owed for it
├── ServiceNotStarted          the embedded service did not come up
├── RunNotResumable            there is no such run, or its manifest changed
├── LimitReached               the run's cost or time limit; the rest can be resumed
├── ModelLost                  the model was stopped under the run, again and again
├── SourceOutOfReach           where the images are did not answer
└── ModelOutOfReach            where the model lives did not answer
"""

from __future__ import annotations


class InspectionError(Exception):
    """Base of everything a run ends with on its own account."""


class ServiceNotStarted(InspectionError):
    """The embedded service did not come up."""


class GuardNotStarted(InspectionError):
    """The process that would stop the model after a crash of the run did not come up."""


class RunNotResumable(InspectionError):
    """There is no such run, or what it inspects is not what it was."""


class LimitReached(InspectionError):
    """The run's cost or time limit was reached; what is left can be resumed."""


class ModelLost(InspectionError):
    """The model was stopped under the run more often than it is worth starting it again."""


class SourceOutOfReach(InspectionError):
    """The place where the images are does not answer; nothing is wrong with the images."""


class ModelInUse(InspectionError):
    """Runs use a model that is to be stopped, or may use it."""


class ModelsLeftUp(InspectionError):
    """A sweep found models that are up without anybody using them, and did not stop them."""


class ResultsNotStored(InspectionError):
    """The results database did not take the answers for longer than the run's patience."""


class ModelOutOfReach(InspectionError):
    """The place where the model lives does not answer; nothing is wrong with the images."""
