"""Everything `lfv.client` raises.

    LfvError
    ├── HostError                      a call to the place where a model lives failed
    │   ├── HostThrottled              retryable, with `retry_after`
    │   ├── HostUnavailable            retryable; it answered with a failure of its own (5xx)
    │   ├── HostUnreachable            retryable; the call never arrived
    │   ├── HostTimeout                retryable, but the call may have had its effect
    │   ├── HostRejected               the request is wrong (4xx); final for this image
    │   ├── HostAccessDenied
    │   ├── HostQuotaExceeded
    │   ├── HostConflict               the model is in no state for this call
    │   ├── ModelNotFound
    │   └── HostKindUnknown
    ├── HostingError                   a model could not be brought up or down
    │   ├── ModelNotReady              in training, failed in training, or being deleted
    │   ├── HostingFailed
    │   ├── HostingTimedOut
    │   └── HostingInterrupted         the caller's stop event was set
    ├── PolicyError
    └── TrainingError
        ├── TrainingDataInvalid        with every line that cannot be trained on
        ├── TrainingFailed
        ├── TrainingTimedOut           the training itself goes on
        └── TrainingInterrupted        the training itself goes on

Every class has a `code`: a stable, lower-case word that is stored with an inspection and that
queries may rely on. `str(error)` is one sentence for people. `retryable` says whether the same
call can succeed later without anything else having changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lfv.formats.errors import LfvError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lfv.formats.manifest.records import BadLine


# -- the model and the place where it lives -------------------------------------------------------


class HostError(LfvError):
    """A call failed.

    `operation` is the API's name of the call, `request_id` what the service called it (None when
    it never answered), `retry_after` the seconds that the service asked us to wait, `attempts` how
    many calls were made before giving up, and `ambiguous` says that the call may have had its
    effect nevertheless.
    """

    code = "host_error"
    ambiguous: ClassVar[bool] = False
    attempts: int = 1

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.request_id = request_id
        self.retry_after = retry_after


class HostThrottled(HostError):
    code = "host_throttled"
    retryable = True


class HostUnavailable(HostError):
    code = "host_unavailable"
    retryable = True
    ambiguous = True


class HostUnreachable(HostError):
    code = "host_unreachable"
    retryable = True


class HostTimeout(HostError):
    code = "host_timeout"
    retryable = True
    ambiguous = True


class HostRejected(HostError):
    code = "host_rejected"


class HostAccessDenied(HostError):
    code = "host_access_denied"


class HostQuotaExceeded(HostError):
    code = "host_quota_exceeded"


class HostConflict(HostError):
    code = "host_conflict"


class ModelNotFound(HostError):
    code = "model_not_found"


class HostKindUnknown(HostError):
    code = "host_kind_unknown"


# -- hosting --------------------------------------------------------------------------------------


class HostingError(LfvError):
    code = "hosting_error"


class ModelNotReady(HostingError):
    code = "model_not_ready"


class HostingFailed(HostingError):
    code = "hosting_failed"


class HostingTimedOut(HostingError):
    code = "hosting_timed_out"
    retryable = True


class HostingInterrupted(HostingError):
    code = "hosting_interrupted"
    retryable = True


# -- policies and training ------------------------------------------------------------------------


class PolicyError(LfvError):
    code = "policy_invalid"


class TrainingError(LfvError):
    code = "training_error"


class TrainingDataInvalid(TrainingError):
    """`problems` holds the lines that cannot be trained on, in order."""

    code = "training_data_invalid"

    def __init__(self, message: str, problems: Sequence[BadLine] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class TrainingFailed(TrainingError):
    code = "training_failed"


class TrainingTimedOut(TrainingError):
    code = "training_timed_out"


class TrainingInterrupted(TrainingError):
    code = "training_interrupted"
