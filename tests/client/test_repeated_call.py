"""A repeated call sends, returns and raises what boto3 does."""

from __future__ import annotations

import threading
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from lfv.client.api import lookoutvision_client, repeated
from lfv.client.api.client import aws_client
from lfv.client.api.repeated import repeated_call
from tests.client.conftest import Reply, Request, ScriptedApi
from tests.support.lookoutvision import ANSWER

ARGUMENTS = {"ProjectName": "a b", "ModelVersion": "2", "ContentType": "image/png"}
#: Differ from request to request, or are only for retries.
VARYING = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}


SESSION = boto3.Session(
    aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-west-1"
)


def client_of(api: ScriptedApi, **keys: Any) -> Any:
    session = boto3.Session(
        aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-west-1", **keys
    )
    config = Config(retries={"total_max_attempts": 1}, read_timeout=0.5)
    return lookoutvision_client(api.url, session=session, config=config)


def lasting(request: Request) -> tuple[str, str, bytes, dict[str, str]]:
    headers = {name: value for name, value in request.headers.items() if name not in VARYING}
    return request.method, request.path, request.body, headers


def signed_headers(request: Request) -> set[str]:
    """The headers that the signature covers, without those of retries."""
    listed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    return set(listed.split(";")) - VARYING | {"x-amz-date"}


def signature(request: Request, url: str, service: str = "lookoutvision") -> str:
    """The signature that botocore computes for a request as it arrived."""
    names = signed_headers(request) - {"host"}
    headers = {name: request.headers[name] for name in names}
    copy = AWSRequest(request.method, url + request.path, headers, request.body)
    copy.context["timestamp"] = request.headers["x-amz-date"]
    auth = SigV4Auth(Credentials("key", "secret"), service, "eu-west-1")
    return auth.signature(auth.string_to_sign(copy, auth.canonical_request(copy)), copy)


@pytest.mark.parametrize("token", [None, "session"])
def test_the_request_is_the_one_of_boto3(api: ScriptedApi, token: str | None) -> None:
    client = client_of(api, aws_session_token=token)
    api.queue(*[Reply(200, ANSWER)] * 4)
    expected = client.detect_anomalies(Body=b"one", **ARGUMENTS)
    call = repeated_call(client, "detect_anomalies", **ARGUMENTS)
    assert len(api.requests) == 1, "building the request sends nothing"
    answers = [call(b"one"), call(b"two" * 100_000)]
    client.detect_anomalies(Body=b"two" * 100_000, **ARGUMENTS)
    theirs, ours, ours_large, theirs_large = api.requests
    assert lasting(ours) == lasting(theirs)
    assert lasting(ours_large) == lasting(theirs_large)
    assert signed_headers(ours) == signed_headers(theirs)
    assert ("x-amz-security-token" in signed_headers(ours)) is (token is not None)
    for request in api.requests:
        assert request.headers["authorization"].endswith(signature(request, api.url))
    for answer in answers:
        assert answer["DetectAnomalyResult"] == expected["DetectAnomalyResult"]
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(429, {"Message": "slower", "RetryAfterSeconds": 7}), "ThrottlingException"),
        (Reply(409, {"Message": "not hosted", "ResourceId": "2"}), "ConflictException"),
        (Reply(500, {"Message": "sorry"}), "InternalServerException"),
        (Reply(400, {"Message": "no"}), "Unheard"),
        (Reply(503, {}), ""),
    ],
)
def test_an_error_is_the_one_of_boto3(api: ScriptedApi, reply: Reply, code: str) -> None:
    if code:
        reply.headers["x-amzn-ErrorType"] = code
    client = client_of(api)
    api.queue(reply, reply)
    with pytest.raises(ClientError) as expected:
        client.detect_anomalies(Body=b"one", **ARGUMENTS)
    with pytest.raises(ClientError) as raised:
        repeated_call(client, "detect_anomalies", **ARGUMENTS)(b"one")
    assert type(raised.value) is type(expected.value)
    assert str(raised.value) == str(expected.value).replace(" (reached max retries: 0)", "")
    theirs, ours = dict(expected.value.response), dict(raised.value.response)
    del theirs["ResponseMetadata"], ours["ResponseMetadata"]
    assert ours == theirs


def test_a_call_that_is_not_answered_times_out(api: ScriptedApi) -> None:
    api.queue(Reply(200, ANSWER, delay=3))
    with pytest.raises(ReadTimeoutError):
        repeated_call(client_of(api), "detect_anomalies", **ARGUMENTS)(b"one")


def test_a_call_needs_credentials(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(api)
    call = repeated_call(client, "detect_anomalies", **ARGUMENTS)
    monkeypatch.setattr(client._request_signer, "_credentials", None)
    with pytest.raises(NoCredentialsError):
        call(b"one")
    assert not api.requests


def test_an_argument_in_a_header_may_vary_and_a_stream_is_returned_as_one(
    api: ScriptedApi,
) -> None:
    arguments = {"EndpointName": "parts", "ContentType": "image/png", "Accept": "a/json"}
    client = aws_client("sagemaker-runtime", api.url, "eu-west-1", session=SESSION)
    api.queue(Reply(200, b'{"IsAnomalous":false}'))
    client.invoke_endpoint(Body=b"one", InferenceId="first", **arguments)
    call = repeated_call(client, "invoke_endpoint", varying="InferenceId", **arguments)
    answer = call(b"one", "first")
    call(b"one", "second")
    with closing(answer["Body"]) as stream:
        assert stream.read() == b'{"IsAnomalous":false}'
    theirs, ours, other = api.requests
    assert lasting(ours) == lasting(theirs)
    assert other.headers["x-amzn-sagemaker-inference-id"] == "second"
    for request in api.requests:
        expected = signature(request, api.url, "sagemaker")
        assert request.headers["authorization"].endswith(expected)


def test_credentials_that_are_renewed_are_used(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(repeated, "time", SimpleNamespace(time=lambda: now))
    client = client_of(api)
    api.queue(Reply(200, ANSWER))
    call = repeated_call(client, "detect_anomalies", **ARGUMENTS)
    call(b"one")
    monkeypatch.setattr(client._request_signer, "_credentials", Credentials("new", "secret"))
    now = 1001.0
    call(b"one")
    keys = [request.headers["authorization"].partition("=")[2][:4] for request in api.requests]
    assert keys == ["key/", "new/"]


def test_calls_of_other_threads_are_sent_while_a_request_is_built(api: ScriptedApi) -> None:
    client = client_of(api)
    api.queue(Reply(200, ANSWER))
    answers: list[dict[str, Any]] = []

    def other(**_: Any) -> None:
        thread = threading.Thread(
            target=lambda: answers.append(client.detect_anomalies(Body=b"other", **ARGUMENTS))
        )
        client.meta.events.unregister("before-parameter-build.*.*", other)
        thread.start()
        thread.join()

    client.meta.events.register("before-parameter-build.*.*", other)
    repeated_call(client, "detect_anomalies", **ARGUMENTS)
    assert [answer["DetectAnomalyResult"]["IsAnomalous"] for answer in answers] == [True]
    assert [request.body for request in api.requests] == [b"other"]


def test_with_another_layout_of_botocore_the_clients_method_is_called(api: ScriptedApi) -> None:
    client = client_of(api)

    class Other:
        detect_anomalies = client.detect_anomalies

    api.queue(Reply(200, ANSWER))
    call = repeated_call(Other(), "detect_anomalies", **ARGUMENTS)
    assert call(b"one")["DetectAnomalyResult"]["IsAnomalous"] is True
    assert "amz-sdk-request" in api.requests[0].headers
