"""Everything `lfv.client` raises.

    LfvError
    ├── HostError                      a call to a model's host failed
    │   ├── HostThrottled              retryable, with `retry_after`
    │   ├── HostUnavailable            retryable; the host answered with a server error (5xx)
    │   ├── HostUnreachable            retryable; no connection to the host
    │   ├── HostTimeout                retryable, but the call may have taken effect
    │   ├── HostRejected               the request is invalid (4xx); final for this image
    │   ├── HostAccessDenied
    │   ├── HostQuotaExceeded
    │   ├── HostConflict               the model's status does not allow the call
    │   ├── ModelNotFound
    │   └── HostKindUnknown
    ├── HostingError                   a model could not be started or stopped
    │   ├── ModelNotReady              in training, failed in training, or being deleted
    │   ├── HostingFailed
    │   ├── HostingTimedOut
    │   └── HostingInterrupted         the caller's stop event was set
    ├── PolicyError
    ├── PackagingFailed                a model could not be packaged
    └── TrainingError
        ├── TrainingDataInvalid        with every line that cannot be trained on
        ├── TrainingFailed
        └── TrainingTimedOut           the training itself continues

Every class has a `code`, a stable lower-case word that is stored with an inspection; queries may
rely on it. `str(error)` is one sentence for users. `retryable` says whether the same call may
succeed later if nothing else changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lfv.formats.errors import LfvError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lfv.formats.manifest.records import BadLine


# -- hosts ----------------------------------------------------------------------------------------


class HostError(LfvError):
    """A call to a host failed.

    Attributes:
        operation: The API's name of the call, such as `StartModel`.
        request_id: The service's id of the request; None if it did not answer.
        retry_after: Seconds to wait before the next call, as the service requested; else None.
        attempts: Number of calls made before giving up.
        ambiguous: Whether the call may have taken effect although it failed.
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


class PackagingFailed(LfvError):
    code = "packaging_failed"


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
