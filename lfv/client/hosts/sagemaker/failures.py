"""Translate SageMaker's errors into `lfv.client.errors`.

The control plane returns ValidationException for almost every failure: a missing endpoint, a name
already in use, a status that does not allow deletion. Only the message distinguishes them.
"""

from __future__ import annotations

import re

from botocore.exceptions import ClientError

from lfv.client.errors import (
    HostConflict,
    HostError,
    HostQuotaExceeded,
    HostRejected,
    HostThrottled,
    HostUnavailable,
    ModelNotFound,
)
from lfv.client.hosts.calls import translate

_MISSING = re.compile(r"could not find|does not exist|not found", re.IGNORECASE)
_TAKEN = re.compile(r"already exist", re.IGNORECASE)
_BUSY = re.compile(r"in[- ]progress|in[- ]use|(?:cannot|can't) (?:be )?delete", re.IGNORECASE)
_NOT_ALLOWED = frozenset({"AccessDeniedException", "AccessDenied"})
_OF_MODEL = frozenset({"ModelError", "ModelErrorException"})
_BY_CODE: dict[str, type[HostError]] = {
    "ResourceLimitExceeded": HostQuotaExceeded,
    "ResourceNotFound": ModelNotFound,
    "ResourceInUse": HostConflict,
    "ModelNotReadyException": HostThrottled,
    "ServiceUnavailable": HostUnavailable,
    "InternalFailure": HostUnavailable,
    "InternalDependencyException": HostUnavailable,
}


def control_failure(error: Exception, operation: str, where: str) -> HostError:
    """Return the HostError for a failed call to the control plane."""
    return translate(error, operation, where, kind=_control_kind(error), advice=_advice(error))


def runtime_failure(error: Exception, where: str) -> HostError:
    """Return the HostError for a failed InvokeEndpoint.

    A missing endpoint is a HostConflict: the model is down, and the image is not at fault.
    """
    return translate(
        error, "InvokeEndpoint", where, kind=_runtime_kind(error), advice=_advice(error)
    )


def is_of_model(error: HostError) -> bool:
    """Return whether InvokeEndpoint failed with an error of the model itself."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and _code(cause) in _OF_MODEL


def _control_kind(error: Exception) -> type[HostError] | None:
    if not isinstance(error, ClientError):
        return None
    code, message = _code(error), str(error.response.get("Error", {}).get("Message", ""))
    if code == "ValidationException":
        if _TAKEN.search(message):
            return HostConflict
        if _MISSING.search(message):
            return ModelNotFound
        if _BUSY.search(message):
            return HostConflict
        return HostRejected
    return _BY_CODE.get(code)


def _runtime_kind(error: Exception) -> type[HostError] | None:
    if not isinstance(error, ClientError):
        return None
    code, message = _code(error), str(error.response.get("Error", {}).get("Message", ""))
    if code in {"ValidationError", "ValidationException"}:
        return HostConflict if _MISSING.search(message) else HostRejected
    if code in _OF_MODEL:
        original = error.response.get("OriginalStatusCode")
        own = isinstance(original, int) and 400 <= original < 500
        return HostRejected if own else HostUnavailable
    return _BY_CODE.get(code)


def _advice(error: Exception) -> str:
    if isinstance(error, ClientError) and _code(error) in _NOT_ALLOWED:
        return "deployments/iam has the policies that lfv needs"
    return ""


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "")).partition(":")[0]
