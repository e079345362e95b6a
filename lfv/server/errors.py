"""The exceptions of the service.

ServiceError
├── ApiError                 becomes an error answer; ``code`` names its shape in the service model
│   ├── AccessDeniedError        403
│   ├── InternalError            500
│   ├── ResourceError            names a resource_id and resource_type
│   │   ├── ConflictError        409
│   │   └── NotFoundError        404
│   ├── QuotaExceededError       402  quota_code
│   ├── ThrottledError           429
│   ├── UnknownOperationError    404  no such path; outside the service model, as at Amazon
│   └── ValidationError          400
│       └── InvalidImageError    400  the image of a DetectAnomalies request
├── BucketError              an object cannot be read or written; the message names it
├── ArchiveError             a model archive is damaged, tampered with or of an unknown version
├── HomeError                the state folder is in use, newer than this code, or not usable
│   └── UnwritableError          its database cannot be written now, for example while locked
│       └── DiskFullError            there is no space on the disk
└── OptionsError             the service cannot run with these options
"""

from __future__ import annotations

from typing import ClassVar, Literal

ResourceType = Literal["PROJECT", "DATASET", "MODEL", "TRIAL", "MODEL_PACKAGE_JOB"]

SERVICE_CODE = "lookoutvision"


class ServiceError(Exception):
    """The root of this package's exceptions."""


class ApiError(ServiceError):
    """An error response. ``members`` fills the error's shape, ``Message`` included."""

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str, **members: str | int | None) -> None:
        super().__init__(message)
        self.message = message
        self.members: dict[str, str | int] = {"Message": message}
        self.members.update({k: v for k, v in members.items() if v is not None})


class AccessDeniedError(ApiError):
    code = "AccessDeniedException"
    status = 403


class ValidationError(ApiError):
    code = "ValidationException"
    status = 400


class InvalidImageError(ValidationError):
    """The image cannot be inspected; counted as InvalidImageCount."""


class UnknownOperationError(ApiError):
    code = "UnknownOperationException"
    status = 404


class ResourceError(ApiError):
    """An error about one resource, which the answer names."""

    def __init__(self, message: str, resource_id: str, resource_type: ResourceType) -> None:
        super().__init__(message, ResourceId=resource_id, ResourceType=resource_type)


class ConflictError(ResourceError):
    code = "ConflictException"
    status = 409


class NotFoundError(ResourceError):
    code = "ResourceNotFoundException"
    status = 404


class QuotaExceededError(ApiError):
    code = "ServiceQuotaExceededException"
    status = 402

    def __init__(
        self,
        message: str,
        quota_code: str,
        resource_id: str | None = None,
        resource_type: ResourceType | None = None,
    ) -> None:
        super().__init__(
            message,
            QuotaCode=quota_code,
            ServiceCode=SERVICE_CODE,
            ResourceId=resource_id,
            ResourceType=resource_type,
        )


class ThrottledError(ApiError):
    code = "ThrottlingException"
    status = 429

    def __init__(self, message: str) -> None:
        super().__init__(message, RetryAfterSeconds=1)


class InternalError(ApiError):
    code = "InternalServerException"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message, RetryAfterSeconds=1)


class BucketError(ServiceError):
    pass


class ArchiveError(ServiceError):
    pass


class HomeError(ServiceError):
    pass


class UnwritableError(HomeError):
    """A later attempt may succeed: see ``lfv.server.write_retries``."""


class DiskFullError(UnwritableError):
    pass


class OptionsError(ServiceError):
    pass
