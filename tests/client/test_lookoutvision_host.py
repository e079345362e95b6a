"""LookoutVisionHost over HTTP: requests, answers, and every kind of failure."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostKindUnknown,
    HostQuotaExceeded,
    HostRejected,
    HostThrottled,
    HostTimeout,
    HostUnavailable,
    HostUnreachable,
    ModelNotFound,
)
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, LookoutVisionHost, ModelHost, ModelState, Units, open_host
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid
from lfv.formats.status import ModelStatus
from tests.client.conftest import Reply, Request, ScriptedApi, api_error
from tests.support.fake_model import FakeModel, FakeModelHost, fake_hosts
from tests.support.lookoutvision import ANSWER, QUICK, spec
from tests.support.waiting import PLENTY, stretched

MODEL = "/2020-11-20/projects/cookies/models/2"


@pytest.fixture
def host(api: ScriptedApi) -> Iterator[LookoutVisionHost]:
    """Waits for answers long enough for a busy machine."""
    options = {"read_timeout": PLENTY, "control_timeout": PLENTY}
    with closing(LookoutVisionHost(spec(api, **options), retries=QUICK)) as host:
        yield host


@pytest.fixture
def impatient(api: ScriptedApi) -> Iterator[LookoutVisionHost]:
    """A host that times out after two seconds."""
    options = {"read_timeout": 2.0, "control_timeout": 2.0}
    with closing(LookoutVisionHost(spec(api, **options), retries=QUICK)) as host:
        yield host


def described(status: str, **more: Any) -> Reply:
    description = {
        "ModelVersion": "2",
        "ModelArn": "arn:aws:lookoutvision:us-east-1:000000000000:model/cookies/2",
        "CreationTimestamp": 1_767_225_600.5,
        "Status": status,
    }
    return Reply(200, {"ModelDescription": description | more})


def test_describe(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(described("HOSTED", StatusMessage="fine", MinInferenceUnits=1, MaxInferenceUnits=3))
    assert host.describe() == ModelState(
        status=ModelStatus.HOSTED,
        message="fine",
        model_arn="arn:aws:lookoutvision:us-east-1:000000000000:model/cookies/2",
        project="cookies",
        version="2",
        created_at=datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC),
        min_inference_units=1,
        max_inference_units=3,
    )
    assert (api.requests[0].method, api.requests[0].path) == ("GET", MODEL)


def test_start_and_stop(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(
        Reply(202, {"Status": "STARTING_HOSTING"}), Reply(202, {"Status": "STOPPING_HOSTING"})
    )
    assert host.start(Units(2, 5), "token-1").status is ModelStatus.STARTING_HOSTING
    assert host.stop("token-2").status is ModelStatus.STOPPING_HOSTING
    start, stop = api.requests
    assert (start.method, start.path) == ("POST", f"{MODEL}/start")
    assert start.json() == {"MinInferenceUnits": 2, "MaxInferenceUnits": 5}
    assert start.headers["x-amzn-client-token"] == "token-1"
    assert (stop.method, stop.path) == ("POST", f"{MODEL}/stop")
    assert stop.headers["x-amzn-client-token"] == "token-2"


def test_without_a_maximum_none_is_sent(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(Reply(202, {"Status": "STARTING_HOSTING"}))
    host.start(Units(), "t")
    assert api.requests[0].json() == {"MinInferenceUnits": 1}


def test_detect(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(Reply(200, ANSWER))
    detection = host.detect(b"\x89PNG bytes", "image/png")
    (request,) = api.requests
    assert (request.method, request.path) == ("POST", f"{MODEL}/detect")
    assert request.body == b"\x89PNG bytes"
    assert request.headers["content-type"] == "image/png"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert detection.result.is_anomalous
    assert detection.result.anomaly_mask == b"\x89PNG\r\n\x1a\n"
    assert "AnomalyMask" not in detection.result.to_response()
    assert detection.request_id == "request-1"
    assert detection.attempts == 1
    assert 0 < detection.latency_ms < PLENTY * 1000


def test_an_option_requests_heat_maps(api: ScriptedApi, host: LookoutVisionHost) -> None:
    encoded = base64.b64encode(b"\x89PNG\r\n\x1a\nmap").decode()
    answer = {"DetectAnomalyResult": {**ANSWER["DetectAnomalyResult"], "AnomalyMap": encoded}}
    api.queue(Reply(200, ANSWER), Reply(200, answer))
    assert host.detect(b"image", "image/png").result.anomaly_map is None
    asking = LookoutVisionHost(spec(api, anomaly_maps="true"))
    found = asking.detect(b"image", "image/png").result
    asking.close()
    assert [r.headers.get("x-lfv-anomaly-map") for r in api.requests] == [None, "true"]
    assert found.anomaly_map == b"\x89PNG\r\n\x1a\nmap"
    assert found.to_response()["AnomalyMap"] == encoded
    again = DetectAnomalyResult.from_response(found.to_response(), mask=found.anomaly_mask)
    assert again == found


@pytest.mark.parametrize(("minimum", "maximum"), [(0, None), (2, 1)])
def test_invalid_units(minimum: int, maximum: int | None) -> None:
    with pytest.raises(ValueError, match="unit"):
        Units(minimum, maximum)


def model(version: str, status: str, created: float) -> dict[str, Any]:
    return {"ModelVersion": version, "Status": status, "CreationTimestamp": created}


def test_latest_is_the_newest_that_can_be_hosted(api: ScriptedApi) -> None:
    api.queue(
        Reply(
            200, {"Models": [model("1", "TRAINED", 1), model("3", "HOSTED", 3)], "NextToken": "n"}
        ),
        Reply(200, {"Models": [model("4", "TRAINING_FAILED", 4), model("5", "TRAINING", 5)]}),
    )
    host = LookoutVisionHost(spec(api, "latest"))
    assert host.spec == spec(api, "3")
    assert "nextToken=n" in api.requests[1].path
    host.close()


def test_latest_without_a_trained_model(api: ScriptedApi) -> None:
    api.queue(Reply(200, {"Models": [model("1", "TRAINING", 1)]}))
    with pytest.raises(ModelNotFound, match="no trained model"):
        LookoutVisionHost(spec(api, "latest"))
    api.queue(api_error(404, "ResourceNotFoundException", "no such project"))
    with pytest.raises(ModelNotFound, match="no such project"):
        LookoutVisionHost(spec(api, "latest"))


@pytest.mark.parametrize(
    ("status", "code", "error", "retryable", "ambiguous"),
    [
        (400, "ValidationException", HostRejected, False, False),
        (402, "ServiceQuotaExceededException", HostQuotaExceeded, False, False),
        (403, "AccessDeniedException", HostAccessDenied, False, False),
        (403, "InvalidSignatureException", HostAccessDenied, False, False),
        (404, "ResourceNotFoundException", ModelNotFound, False, False),
        (409, "ConflictException", HostConflict, False, False),
        (429, "ThrottlingException", HostThrottled, True, False),
        (500, "InternalServerException", HostUnavailable, True, True),
        (503, "Unheard", HostUnavailable, True, True),
        (418, "Unheard", HostRejected, False, False),
    ],
)
def test_errors_of_the_api(
    api: ScriptedApi,
    host: LookoutVisionHost,
    status: int,
    code: str,
    error: type[HostError],
    retryable: bool,
    ambiguous: bool,
) -> None:
    api.queue(api_error(status, code, "because\nof this."))
    with pytest.raises(error) as caught:
        host.stop("t")
    assert type(caught.value) is error
    assert (caught.value.retryable, caught.value.ambiguous) == (retryable, ambiguous)
    assert caught.value.operation == "StopModel"
    assert caught.value.request_id == "request-1"
    assert str(caught.value) == f"StopModel failed with {code}: because of this."
    assert len(api.requests) == 1, "botocore's own retries are off"


def test_a_proxy_that_returns_html(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(Reply(502, b"<html>bad gateway</html>"))
    with pytest.raises(HostUnavailable):
        host.describe()
    api.queue(Reply(200, b"<html>please log in</html>"))
    with pytest.raises(HostTimeout):
        host.describe()


def test_an_invalid_answer(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(described("ON_HOLIDAY"))
    with pytest.raises(ResponseInvalid, match="ON_HOLIDAY"):
        host.describe()
    api.queue(Reply(200, {"DetectAnomalyResult": {"IsAnomalous": True, "Confidence": 7}}))
    with pytest.raises(ResponseInvalid):
        host.detect(b"x", "image/png")


def test_no_answer_in_time_is_ambiguous(api: ScriptedApi, impatient: LookoutVisionHost) -> None:
    api.queue(Reply(200, {"Status": "STARTING_HOSTING"}, delay=PLENTY))
    with pytest.raises(HostTimeout) as caught:
        impatient.start(Units(), "t")
    assert caught.value.ambiguous
    assert caught.value.retryable


def test_describe_survives_a_short_outage(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(api_error(500, "InternalServerException"), Reply(drop=True), described("HOSTED"))
    assert host.describe().status is ModelStatus.HOSTED
    api.queue(api_error(500, "InternalServerException"))
    with pytest.raises(HostUnavailable) as caught:
        host.describe()
    assert caught.value.attempts == 3


def test_a_call_that_hangs_does_not_hang_the_stop(
    api: ScriptedApi, impatient: LookoutVisionHost
) -> None:
    """The first StopModel is never answered; the second one stops the model."""
    status = ["HOSTED"]

    def answer(request: Request) -> Reply:
        if not request.path.endswith("/stop"):
            return described(status[0])
        if len(api.requests) == 1:
            return Reply(delay=60, drop=True)
        status[0] = "TRAINED"
        return Reply(202, {"Status": "STOPPING_HOSTING"})

    api.answer = answer
    began = time.monotonic()
    assert ensure_stopped(impatient, "t", timeout=PLENTY).attempts == 2
    assert time.monotonic() - began < stretched(10)


def test_a_connection_that_breaks_is_ambiguous(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.queue(Reply(drop=True))
    with pytest.raises(HostTimeout) as caught:
        host.start(Units(), "t")
    assert caught.value.ambiguous


def test_nothing_listens(api: ScriptedApi, host: LookoutVisionHost) -> None:
    api.close()
    with pytest.raises(HostUnreachable) as caught:
        host.start(Units(), "t")
    assert not caught.value.ambiguous
    assert caught.value.retryable


@pytest.mark.parametrize("url", ["not an address", "http://"])
def test_an_invalid_endpoint(url: str) -> None:
    with pytest.raises(HostRejected):
        LookoutVisionHost(HostSpec("lookoutvision", "p", "1", url, "us-east-1"))


@pytest.mark.parametrize(("project", "version"), [("no spaces", "1"), ("p", "newest")])
def test_names_that_the_api_refuses(api: ScriptedApi, project: str, version: str) -> None:
    api.queue(api_error(400, "ValidationException"))
    host = LookoutVisionHost(HostSpec("lookoutvision", project, version, api.url, "us-east-1"))
    with pytest.raises(HostRejected):
        host.describe()
    host.close()


def test_a_specification_survives_storage() -> None:
    options = {"max_connections": 4}
    place = ("lookoutvision", "p", "1", "http://x", "eu-west-1")
    one = HostSpec(*place, options, run_id="r-1", embedded_home="/home/lfv")
    assert HostSpec.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    # Release 0.1.0 stored the run and the home folder among the options.
    stored = HostSpec(*place, {**options, "run_id": "r-1", "embedded_home": "/home/lfv"}).to_dict()
    del stored["run_id"], stored["embedded_home"]
    assert HostSpec.from_dict(stored) == one


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "x", "project": "p"},
        {"kind": "x", "project": "p", "model_version": ""},
        {"kind": "x", "project": "p", "model_version": 1},
        {"kind": "x", "project": "p", "model_version": "1", "secret": "s"},
    ],
)
def test_invalid_specifications(value: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        HostSpec.from_dict(value)


def test_opening(api: ScriptedApi) -> None:
    host = open_host(spec(api))
    assert isinstance(host, LookoutVisionHost)
    assert host.spec.kind == "lookoutvision"
    host.close()
    with pytest.raises(HostKindUnknown, match="the kinds are edge, lookoutvision"):
        open_host(HostSpec("telepathy", "p", "1"))


def test_opening_a_model_in_memory() -> None:
    fake = FakeModel()
    with fake_hosts(fake) as fake_spec:
        host = open_host(fake_spec)
        assert isinstance(host, FakeModelHost)
        assert host.spec == fake_spec
    with pytest.raises(HostKindUnknown):
        open_host(fake_spec)


def test_up_and_down_over_http(api: ScriptedApi, host: LookoutVisionHost) -> None:
    """The waiting logic and the real client together."""
    behind = FakeModel(start_seconds=0.2, stop_seconds=0.1)

    def answer(request: Request) -> Reply:
        try:
            if request.path.endswith("/start"):
                return Reply(202, {"Status": behind.start(Units(1), "t").status})
            if request.path.endswith("/stop"):
                return Reply(202, {"Status": behind.stop("t").status})
        except HostConflict as error:
            return api_error(409, "ConflictException", str(error))
        return described(behind.status)

    api.answer = answer
    checked: ModelHost = host
    poll = Backoff(0.02, 1, 0.02)
    assert ensure_hosted(checked, Units(), "t", timeout=PLENTY, poll=poll).started
    assert ensure_hosted(checked, Units(), "t2", timeout=PLENTY, poll=poll).adopted
    assert ensure_stopped(checked, "t", timeout=PLENTY, poll=poll).was_up
    assert not behind.is_up


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"instance_type": "ml.c5"}, "no option 'instance_type'"),
        ({"read_timeout": "x"}, "not a number"),
    ],
)
def test_an_invalid_option_is_reported(
    api: ScriptedApi, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(HostRejected, match=says):
        LookoutVisionHost(spec(api, **options))
    assert api.requests == []
