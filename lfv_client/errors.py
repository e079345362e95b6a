"""Everything `lfv_client` raises.

    LfvClientError
    ├── ImageError                     this image cannot be inspected; never retryable
    │   ├── ImageEmpty
    │   ├── ImageTooLarge              more bytes than the service takes
    │   ├── ImageFormatUnsupported     neither PNG nor JPEG by content
    │   ├── ImageEncodingUnsupported   12-bit, lossless or arithmetic-coded JPEG
    │   ├── ImageAnimated              APNG
    │   ├── ImageMultiPicture          several pictures in one JPEG (MPO)
    │   ├── ImageTooSmall              fewer pixels a side than the service takes
    │   ├── ImageDimensionsTooLarge    more pixels a side, decompression bombs included
    │   ├── ImageDimensionsMismatch    not the dimensions that the model was trained on
    │   ├── ImageTruncated             the end is missing
    │   └── ImageDamaged               contradicts its own format
    ├── SourceError                    what a reference points at cannot be read
    │   ├── SourceRefInvalid
    │   ├── SourceSchemeUnsupported
    │   ├── SourceOutside              leaves the folder or bucket that it was given
    │   ├── SourceNotFound
    │   ├── SourceForbidden
    │   ├── SourceNotAFile             a folder, device, socket or named pipe
    │   ├── SourceTooLarge
    │   ├── SourceChanged              not the bytes that were checked before
    │   └── SourceUnavailable          the store does not answer now; retryable
    ├── ManifestError                  the manifest as a whole cannot be used
    │   ├── ManifestKindUnknown
    │   ├── ManifestHeaderInvalid
    │   └── ManifestLineInvalid        a bad line, with strict reading only
    ├── ResponseInvalid                the model's answer contradicts its own format
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lfv_client.manifests import BadLine


class LfvClientError(Exception):
    """The base of every error of this package."""

    code: ClassVar[str] = "client_error"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """One sentence for people; the same as `str(error)`."""
        return str(self)


# -- images ---------------------------------------------------------------------------------------


class ImageError(LfvClientError):
    code = "image_error"


class ImageEmpty(ImageError):
    code = "image_empty"


class ImageTooLarge(ImageError):
    code = "image_too_large"


class ImageFormatUnsupported(ImageError):
    code = "image_format_unsupported"


class ImageEncodingUnsupported(ImageError):
    code = "image_encoding_unsupported"


class ImageAnimated(ImageError):
    code = "image_animated"


class ImageMultiPicture(ImageError):
    code = "image_multi_picture"


class ImageTooSmall(ImageError):
    code = "image_too_small"


class ImageDimensionsTooLarge(ImageError):
    code = "image_dimensions_too_large"


class ImageDimensionsMismatch(ImageError):
    code = "image_dimensions_mismatch"


class ImageTruncated(ImageError):
    code = "image_truncated"


class ImageDamaged(ImageError):
    code = "image_damaged"


# -- sources --------------------------------------------------------------------------------------


class SourceError(LfvClientError):
    """`ref` is the reference that could not be read."""

    code = "source_error"

    def __init__(self, message: str, *, ref: str = "") -> None:
        super().__init__(message)
        self.ref = ref


class SourceRefInvalid(SourceError):
    code = "source_ref_invalid"


class SourceSchemeUnsupported(SourceError):
    code = "source_scheme_unsupported"


class SourceOutside(SourceError):
    code = "source_outside"


class SourceNotFound(SourceError):
    code = "source_not_found"


class SourceForbidden(SourceError):
    code = "source_forbidden"


class SourceNotAFile(SourceError):
    code = "source_not_a_file"


class SourceTooLarge(SourceError):
    code = "source_too_large"


class SourceChanged(SourceError):
    code = "source_changed"


class SourceUnavailable(SourceError):
    code = "source_unavailable"
    retryable = True


# -- manifests ------------------------------------------------------------------------------------


class ManifestError(LfvClientError):
    code = "manifest_error"


class ManifestKindUnknown(ManifestError):
    code = "manifest_kind_unknown"


class ManifestHeaderInvalid(ManifestError):
    code = "manifest_header_invalid"


class ManifestLineInvalid(ManifestError):
    """Raised by strict reading; `bad_line` is what lenient reading would have yielded."""

    code = "manifest_line_invalid"

    def __init__(self, bad_line: BadLine) -> None:
        super().__init__(f"Line {bad_line.line_number}: {bad_line.message}")
        self.bad_line = bad_line


# -- the model and the place where it lives -------------------------------------------------------


class ResponseInvalid(LfvClientError):
    """`attempts` is how many calls it took to get the answer."""

    code = "response_invalid"
    attempts: int = 1


class HostError(LfvClientError):
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


class HostingError(LfvClientError):
    """`start_requested`: StartModel was sent, so that the model may be up and has to be stopped."""

    code = "hosting_error"

    def __init__(self, message: str, *, start_requested: bool = False) -> None:
        super().__init__(message)
        self.start_requested = start_requested


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


class PolicyError(LfvClientError):
    code = "policy_invalid"


class TrainingError(LfvClientError):
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
