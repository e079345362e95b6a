"""How the SageMaker host reads answers and errors, without an endpoint."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, UnauthorizedSSOTokenError

from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostQuotaExceeded,
    HostRejected,
    HostThrottled,
    HostUnavailable,
    ModelNotFound,
)
from lfv.client.hosts.sagemaker.answers import parse_answer
from lfv.client.hosts.sagemaker.failures import control_failure, runtime_failure
from lfv.formats.errors import ResponseInvalid
from tests.support.encoded import make_image

FLAT = {"Source": {"Type": "direct"}, "IsAnomalous": True, "Confidence": 0.93}
PIXELS = {"TotalPercentageArea": 0.02, "Color": "#FF0000"}
FOUND = [{"Name": "crack", "PixelAnomaly": PIXELS}]


@pytest.mark.parametrize(
    "answer", [FLAT, {"DetectAnomalyResult": FLAT}, [FLAT], FLAT | {"Later": {"x": 1}}]
)
def test_an_answer_may_be_flat_or_wrapped_or_have_more_members(answer: Any) -> None:
    result = parse_answer(json.dumps(answer).encode())
    assert (result.is_anomalous, result.confidence) == (True, 0.93)


def test_masks_and_anomalies_are_read_if_present() -> None:
    mask = make_image()
    answer = FLAT | {"Anomalies": FOUND, "AnomalyMask": base64.b64encode(mask).decode()}
    result = parse_answer(json.dumps(answer).encode())
    assert result.anomaly_mask == mask
    assert result.anomalies is not None
    assert result.anomalies[0].name == "crack"


@pytest.mark.parametrize(
    "odd",
    [
        {"Anomalies": {"crack": 0.1}},
        {"Anomalies": [{"Label": "crack"}]},
        {"AnomalyMask": "not base64"},
        {"AnomalyMask": {"S3": "s3://b/k"}},
    ],
)
def test_unusual_masks_stay_raw_and_are_not_fatal(odd: dict[str, Any]) -> None:
    result = parse_answer(json.dumps(FLAT | odd).encode())
    assert result.is_anomalous
    assert result.anomalies is None
    assert result.anomaly_mask is None
    assert result.to_response() == FLAT | odd


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"[]", b'{"IsAnomalous": 1, "Confidence": 0.5}', b'{"IsAnomalous": true}']
)
def test_an_answer_without_a_verdict_is_invalid(body: bytes) -> None:
    with pytest.raises(ResponseInvalid):
        parse_answer(body)


def client_error(code: str, message: str, status: int = 400, **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "x")


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("ValidationException", 'Could not find endpoint "arn:x".', ModelNotFound),
        ("ValidationException", 'Cannot create already existing endpoint "x".', HostConflict),
        ("ValidationException", 'Cannot update in-progress endpoint "x".', HostConflict),
        ("ValidationException", "1 validation error detected", HostRejected),
        ("ResourceLimitExceeded", "limit is 0 instances", HostQuotaExceeded),
        ("ResourceNotFound", "gone", ModelNotFound),
        ("ResourceInUse", "busy", HostConflict),
        ("ThrottlingException", "Rate exceeded", HostThrottled),
    ],
)
def test_errors_of_the_control_plane(code: str, message: str, kind: type[HostError]) -> None:
    assert type(control_failure(client_error(code, message), "Op", "here")) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ValidationError", "Endpoint x of account 1 not found."), HostConflict),
        (client_error("ValidationError", "Variant is unknown"), HostRejected),
        (client_error("ModelError", "m", 424, OriginalStatusCode=400), HostRejected),
        (client_error("ModelError", "m", 424, OriginalStatusCode=503), HostUnavailable),
        (client_error("ModelError", "m", 424), HostUnavailable),
        (client_error("ModelNotReadyException", "m", 429), HostThrottled),
        (client_error("ServiceUnavailable", "m", 503), HostUnavailable),
        (client_error("InternalFailure", "m", 500), HostUnavailable),
        (client_error("InternalDependencyException", "m", 530), HostUnavailable),
    ],
)
def test_errors_of_an_endpoint(error: ClientError, kind: type[HostError]) -> None:
    assert type(runtime_failure(error, "here")) is kind


@pytest.mark.parametrize(
    "error",
    [
        CredentialRetrievalError(provider="custom-process", error_msg="signed out"),
        UnauthorizedSSOTokenError(),
        RuntimeError(
            "Credentials were refreshed, but the refreshed credentials are still expired."
        ),
        client_error("ExpiredTokenException", "The security token is expired", 403),
        client_error("ExpiredToken", "The provided token has expired"),
    ],
)
def test_expired_credentials_are_not_recorded_for_the_image(error: Exception) -> None:
    assert type(runtime_failure(error, "here")) is HostAccessDenied
    assert type(control_failure(error, "DeleteEndpoint", "here")) is HostAccessDenied
