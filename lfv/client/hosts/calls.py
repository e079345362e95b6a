"""Call AWS operations, and translate botocore's errors into `lfv.client.errors`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoRegionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from lfv.client.api.credentials import is_without_credentials, refused_credentials
from lfv.client.clock import SYSTEM_CLOCK
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostQuotaExceeded,
    HostRejected,
    HostThrottled,
    HostTimeout,
    HostUnavailable,
    HostUnreachable,
    ModelNotFound,
)

#: What boto3 raises. ValueError escapes from its parsers, RuntimeError means expired credentials.
FAILURES = (BotoCoreError, ClientError, ValueError, RuntimeError)

# Error codes of the API (2020-11-20), and those that any AWS endpoint may return.
_BY_CODE: dict[str, type[HostError]] = {
    "ValidationException": HostRejected,
    "ServiceQuotaExceededException": HostQuotaExceeded,
    "AccessDeniedException": HostAccessDenied,
    "ResourceNotFoundException": ModelNotFound,
    "ConflictException": HostConflict,
    "ThrottlingException": HostThrottled,
    "InternalServerException": HostUnavailable,
    "ExpiredToken": HostAccessDenied,
    "ExpiredTokenException": HostAccessDenied,
    "IncompleteSignatureException": HostAccessDenied,
    "InvalidClientTokenId": HostAccessDenied,
    "InvalidSignatureException": HostAccessDenied,
    "MissingAuthenticationTokenException": HostAccessDenied,
    "RequestExpired": HostAccessDenied,
    "SignatureDoesNotMatch": HostAccessDenied,
    "UnrecognizedClientException": HostAccessDenied,
    "TooManyRequestsException": HostThrottled,
    "RequestTimeout": HostUnavailable,
    "RequestTimeoutException": HostUnavailable,
}
_BY_STATUS: dict[int, type[HostError]] = {
    401: HostAccessDenied,
    402: HostQuotaExceeded,
    403: HostAccessDenied,
    404: ModelNotFound,
    408: HostUnavailable,
    409: HostConflict,
    429: HostThrottled,
}


def client_config(
    *,
    max_connections: int = 32,
    connect_timeout: float = 5.0,
    read_timeout: float = 60.0,
    checked: bool = True,
) -> Config:
    """Return botocore's configuration for the API.

    botocore makes one attempt per call. Before StartModel or StopModel is repeated, the model's
    status is checked, and DetectAnomalies has retries that respect deadlines and stop events.

    Args:
        max_connections: Size of the connection pool; one for each thread, so that none waits.
        connect_timeout: Seconds.
        read_timeout: Seconds.
        checked: Whether botocore validates arguments, which takes about half as long as parsing a
            response.
    """
    return Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max_connections,
        parameter_validation=checked,
        tcp_keepalive=True,
    )


def call(client: Any, operation: str, *, where: str = "", **arguments: Any) -> Any:
    """Call an operation by its API name. Raises HostError.

    `where` is the service's name or address for messages, by default the client's endpoint.
    """
    try:
        return getattr(client, xform_name(operation))(**arguments)
    except FAILURES as error:
        raise translate(error, operation, where or client.meta.endpoint_url) from error


def pages(
    operate: Callable[..., Any], operation: str, member: str, **arguments: Any
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a list operation, which `operate` calls page by page."""
    while True:
        page = operate(operation, **arguments)
        yield from page.get(member, ())
        if not page.get("NextToken"):
            return
        arguments["NextToken"] = page["NextToken"]


def utc(value: object) -> datetime | None:
    """Return a time of a response in UTC; None if it has none."""
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def translate(
    error: Exception,
    operation: str,
    where: str,
    *,
    kind: type[HostError] | None = None,
    advice: str = "",
) -> HostError:
    """Return the HostError for an error that boto3 raised.

    Args:
        error: One of `FAILURES`.
        operation: The API's name of the call.
        where: The service's name or address, for the message.
        kind: Class for an error response, if the caller knows more than the error's code says.
        advice: What to do about an error response; ends the message.
    """
    if isinstance(error, ClientError):
        return _from_answer(error, operation, kind, advice)
    if is_without_credentials(error):
        return HostAccessDenied(
            f"There are no AWS credentials for {where}; configure them or use another endpoint.",
            operation=operation,
        )
    if refused_credentials(error):
        return HostAccessDenied(
            f"The credentials for {where} cannot be renewed: {_one_line(error)}; sign in again.",
            operation=operation,
        )
    if isinstance(error, NoRegionError):
        return HostRejected(
            f"There is no AWS region for {where}; set one with --region or LFV_REGION.",
            operation=operation,
        )
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError):
        return HostUnreachable(f"{where} cannot be reached.", operation=operation)
    if isinstance(error, SSLError):
        return HostRejected(
            f"The TLS certificate of {where} cannot be verified.", operation=operation
        )
    if isinstance(error, ReadTimeoutError):
        return HostTimeout(f"{where} did not answer {operation} in time.", operation=operation)
    if isinstance(
        error, HTTPClientError | IncompleteReadError
    ):  # the connection broke during the response
        return HostTimeout(
            f"{where} closed the connection while answering {operation}.", operation=operation
        )
    if isinstance(error, ResponseParserError) or (
        isinstance(error, ValueError) and not str(error).startswith("Invalid endpoint")
    ):
        # ValueError also escapes from botocore if Retry-After is a date.
        return HostUnavailable(
            f"The response of {where} to {operation} does not conform to the API.",
            operation=operation,
        )
    if isinstance(error, BotoCoreError | ValueError):  # invalid parameters or endpoint
        return HostRejected(f"{operation} cannot be sent: {_one_line(error)}.", operation=operation)
    raise error


def _from_answer(
    error: ClientError, operation: str, kind: type[HostError] | None, advice: str
) -> HostError:
    response: dict[str, Any] = dict(error.response)
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0) or 0)
    code = str(response.get("Error", {}).get("Code", "")).partition(":")[0]
    said = _one_line(response.get("Error", {}).get("Message", "")) or "no explanation"
    kind = kind or _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = HostUnavailable if status >= 500 else HostRejected
    return kind(
        f"{operation} failed with {code or status}: {said}{advice and f'; {advice}'}.",
        operation=operation,
        request_id=metadata.get("RequestId") or None,
        retry_after=_retry_after(response, metadata),
    )


def _retry_after(response: dict[str, Any], metadata: dict[str, Any]) -> float | None:
    """Return the seconds in the header Retry-After (a number or a date) or `RetryAfterSeconds`."""
    for value in (
        (metadata.get("HTTPHeaders") or {}).get("retry-after"),
        response.get("RetryAfterSeconds"),
    ):
        if value is None:
            continue
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, float(value))
        with contextlib.suppress(ValueError, TypeError):
            until = parsedate_to_datetime(str(value))
            return max(0.0, (until - SYSTEM_CLOCK.now()).total_seconds())
    return None


def _one_line(value: object) -> str:
    text = " ".join(str(value).split()).rstrip(".")
    return text if len(text) <= 300 else text[:299] + "…"
