"""SageMakerHost against moto's control plane: what is created and deleted, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lfv.client.clock import Backoff
from lfv.client.errors import (
    HostAccessDenied,
    HostConflict,
    HostError,
    HostingFailed,
    HostRejected,
    HostThrottled,
    ModelNotFound,
    ModelNotReady,
)
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, SageMakerHost, Units
from lfv.client.hosts.sagemaker.account import Account
from lfv.client.retry import RetryPolicy
from lfv.formats.errors import ResponseInvalid
from lfv.formats.status import ModelStatus
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.sagemaker_standin import JOB, MODEL, ROLE, endpoint_name
from tests.support.waiting import PLENTY

QUICK = Backoff(0.02, 1.0, 0.02)
FEW = RetryPolicy(attempts=2, timeout=PLENTY, backoff=Backoff(0.001, 1, 0.001))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


def host_of(
    endpoint: Endpoint, version: str = "latest", run_id: str = "", **options: Any
) -> SageMakerHost:
    given = {"role_arn": ROLE, **options}
    spec = HostSpec("sagemaker", "parts", version, endpoint.url, "us-east-1", given, run_id)
    return SageMakerHost(spec, retries=FEW)


def requests(endpoint: Endpoint, operation: str) -> list[dict[str, Any]]:
    return [call["request"] for call in endpoint.calls(operation)]


def bring_up(host: SageMakerHost, units: int = 1) -> None:
    ensure_hosted(host, Units(units), "hosting-7", timeout=PLENTY, poll=QUICK)


def bring_down(host: SageMakerHost) -> None:
    ensure_stopped(host, "stop", timeout=PLENTY, poll=QUICK)


# -- what a start makes, and a stop deletes --


def test_a_start_creates_package_model_configuration_and_endpoint(endpoint: Endpoint) -> None:
    host = host_of(endpoint, run_id="run-1", instance_type="ml.m5.xlarge")
    bring_up(host, units=2)
    (package,) = requests(endpoint, "CreateModelPackage")
    (algorithm,) = package["SourceAlgorithmSpecification"]["SourceAlgorithms"]
    assert algorithm["AlgorithmName"].startswith("arn:aws:sagemaker:")
    assert package["ModelPackageName"] == JOB
    (model,) = requests(endpoint, "CreateModel")
    assert model["EnableNetworkIsolation"] is True
    assert model["ExecutionRoleArn"] == ROLE
    (config,) = requests(endpoint, "CreateEndpointConfig")
    assert config["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "ModelName": model["ModelName"],
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 2,
        }
    ]
    (made,) = requests(endpoint, "StartModel")
    assert made["EndpointName"] == endpoint_name()
    tags = {
        "lfv:created-by": "lfv",
        "lfv:endpoint": endpoint_name(),
        "lfv:hosting": "hosting-7",
        "lfv:project": "parts",
        "lfv:run": "run-1",
    }
    for request in (model, config, made):
        assert {tag["Key"]: tag["Value"] for tag in request["Tags"]} == tags


@pytest.mark.parametrize("operation", ["ListTags", "ListModels", "ListEndpointConfigs"])
def test_no_endpoint_is_created_that_a_stop_could_not_find(
    endpoint: Endpoint, operation: str
) -> None:
    host = host_of(endpoint)
    endpoint.script(fail={operation: ["AccessDeniedException"] * 9})
    with pytest.raises(HostAccessDenied, match=f"^{operation} failed"):
        bring_up(host)
    assert endpoint.calls("StartModel") == []
    endpoint.script(fail={})
    bring_down(host)
    assert endpoint.leftovers == []


def test_a_stop_deletes_in_order_and_keeps_the_package(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    bring_up(host)
    bring_down(host)
    operations = [call["operation"] for call in endpoint.all_calls() if call["outcome"] == "ok"]
    deleting = ("StopModel", "DeleteEndpointConfig", "DeleteModel")
    assert [name for name in operations if name in deleting] == list(deleting)
    assert endpoint.leftovers == []
    bring_up(host)
    assert len(requests(endpoint, "CreateModelPackage")) == 1
    bring_down(host)


def test_an_existing_model_is_hosted_and_kept(endpoint: Endpoint) -> None:
    host = host_of(endpoint, f"model/{MODEL}", role_arn="", endpoint_name=endpoint_name())
    bring_up(host)
    assert requests(endpoint, "CreateModel") == []
    bring_down(host)
    assert host.describe().status is ModelStatus.TRAINED  # the model is still there
    assert endpoint.leftovers == []


@pytest.mark.parametrize("fails", ["DeleteEndpointConfig", "DeleteModel", "ListModels", "ListTags"])
@pytest.mark.parametrize("failure", ["ThrottlingException", "ConflictException"])
def test_the_next_stop_deletes_what_a_failed_one_left(
    endpoint: Endpoint, fails: str, failure: str
) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(fail={fails: [failure] * 3})
    bring_down(host)
    assert endpoint.leftovers == []


def test_another_process_deletes_what_a_killed_stop_left(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(fail={"DeleteEndpointConfig": ["ThrottlingException"]})
    with pytest.raises(HostThrottled):
        host.stop("stop")
    other = host_of(endpoint)
    bring_down(other)
    assert endpoint.leftovers == []


def test_what_a_killed_start_creates_after_the_stop_is_deleted(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    bring_up(host)
    bring_down(host)
    made = requests(endpoint, "CreateModel")[0]
    late = Account(endpoint.url, "us-east-1")
    late.call("create_model", **made)
    late.close()
    assert host.describe().status.is_up
    bring_down(host)
    assert endpoint.leftovers == []
    assert host.describe().status is ModelStatus.TRAINED


def test_the_next_start_uses_what_a_killed_one_left(endpoint: Endpoint) -> None:
    endpoint.script(fail={"StartModel": ["AccessDeniedException"]})
    with pytest.raises(HostError):
        bring_up(host_of(endpoint))
    left = endpoint.leftovers
    assert len(left) == 2  # a model and a configuration, which cost nothing
    host = host_of(endpoint)
    bring_up(host)
    bring_down(host)
    assert endpoint.leftovers == []


def test_the_same_token_is_the_same_start(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    host.start(Units(1), "one")
    assert host.start(Units(1), "one").status is ModelStatus.HOSTED
    with pytest.raises(HostConflict):
        host.start(Units(1), "two")


# -- states --


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_failed_is_replaced(endpoint: Endpoint, status: str) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(word=status)
    assert host.describe().status is ModelStatus.HOSTING_FAILED
    with pytest.raises(HostThrottled):
        host.start(Units(1), "again")
    endpoint.script(word=None)
    bring_up(host)
    bring_down(host)


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_failed_is_deleted_by_a_stop(endpoint: Endpoint, status: str) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(word=status, fail={"StopModel": ["ThrottlingException"]})
    bring_down(host)
    assert endpoint.leftovers == []


def test_an_endpoint_that_fails_while_starting_is_a_failed_start(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    endpoint.script(start_seconds=1.0, word="Failed")
    with pytest.raises(HostingFailed):
        bring_up(host)
    bring_down(host)
    assert endpoint.leftovers == []


@pytest.mark.parametrize("status", ["Updating", "SystemUpdating", "RollingBack", "Unheard"])
def test_an_endpoint_that_is_updated_counts_as_up(endpoint: Endpoint, status: str) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(word=status)
    assert host.describe().status is ModelStatus.SYSTEM_UPDATING
    endpoint.script(word=None)
    bring_down(host)


def test_an_endpoint_of_somebody_else_is_left_alone(endpoint: Endpoint) -> None:
    endpoint.script(hosted=True)
    host = host_of(endpoint)
    assert not ensure_hosted(host, Units(1), "t", timeout=PLENTY, poll=QUICK).started
    with pytest.raises(HostRejected, match="not created by lfv"):
        bring_down(host)
    assert endpoint.calls("StopModel") == []
    assert host.describe().status is ModelStatus.HOSTED


def test_a_named_endpoint_is_used_and_never_started(endpoint: Endpoint, png: bytes) -> None:
    with pytest.raises(ModelNotFound):
        host_of(endpoint, f"endpoint/{endpoint_name()}").describe()
    endpoint.script(hosted=True)
    host = host_of(endpoint, f"endpoint/{endpoint_name()}")
    assert host.describe().model_arn.endswith(f":model/{MODEL}")
    assert host.detect(png, "image/png").result.confidence >= 0.5


def test_an_endpoint_whose_training_is_gone_is_still_up(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(forget_job=True)
    state = host.describe()
    assert state.status is ModelStatus.HOSTED
    assert state.model_arn.endswith(f":training-job/{JOB}")
    bring_down(SageMakerHost(host.spec))
    assert endpoint.leftovers == []


def test_a_training_in_progress_cannot_be_hosted(endpoint: Endpoint) -> None:
    endpoint.script(job_status="InProgress")
    with pytest.raises(ModelNotReady):
        bring_up(host_of(endpoint, f"training-job/{JOB}"))
    assert requests(endpoint, "StartModel") == []


# -- names, options, limits --


def test_latest_is_the_newest_finished_training(endpoint: Endpoint) -> None:
    assert host_of(endpoint).spec.model_version == f"training-job/{JOB}"
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{JOB}"
    assert host_of(endpoint, arn).spec == host_of(endpoint).spec


@pytest.mark.parametrize("version", ["model/-x", "three", "models/x", "model/" + "x" * 64])
def test_a_name_that_sagemaker_refuses_is_refused_at_once(endpoint: Endpoint, version: str) -> None:
    with pytest.raises(HostRejected):
        host_of(endpoint, version)
    assert endpoint.all_calls() == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"instance": "x"}, "no option 'instance'"),
        ({"network_isolation": "perhaps"}, "true or false"),
        ({"endpoint_name": "under_score"}, "not a valid SageMaker name"),
        ({"endpoint_name": "x" * 60}, "54 characters"),
        ({"max_connections": "many"}, "not a number"),
    ],
)
def test_an_invalid_option_is_reported(
    endpoint: Endpoint, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(HostRejected, match=says):
        host_of(endpoint, **options)


def test_a_start_without_a_role_names_what_is_missing(endpoint: Endpoint) -> None:
    with pytest.raises(HostRejected, match="role_arn"):
        bring_up(host_of(endpoint, role_arn=""))
    assert endpoint.leftovers == []


def test_instances_do_not_scale(endpoint: Endpoint) -> None:
    with pytest.raises(HostRejected, match="fixed number"):
        host_of(endpoint).start(Units(1, 3), "t")


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(HostRejected, match="LFV_REGION"):
        SageMakerHost(HostSpec("sagemaker", "parts", "model/x"))


def test_an_image_beyond_the_limit_is_not_sent(endpoint: Endpoint) -> None:
    host = host_of(endpoint)
    bring_up(host)
    with pytest.raises(HostRejected, match="6,291,456"):
        host.detect(b"\x89PNG" + bytes(6 * 1024 * 1024), "image/png")
    assert endpoint.calls("DetectAnomalies") == []


def test_a_request_can_be_traced(endpoint: Endpoint, png: bytes) -> None:
    host = host_of(endpoint)
    bring_up(host)
    detection = host.detect(png, "image/png")
    (call,) = endpoint.calls("DetectAnomalies")
    assert detection.request_id == call["inference_id"]


def test_an_invalid_answer_is_not_retried(endpoint: Endpoint, png: bytes) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(answer={"IsAnomalous": "maybe"})
    with pytest.raises(ResponseInvalid):
        host.detect(png, "image/png")
    assert len(endpoint.calls("DetectAnomalies")) == 1


def test_a_failed_endpoint_is_not_recorded_for_the_image(endpoint: Endpoint, png: bytes) -> None:
    host = host_of(endpoint)
    bring_up(host)
    endpoint.script(become="HOSTING_FAILED")
    with pytest.raises(HostConflict, match=r"is Failed: .*not in service"):
        host.detect(png, "image/png")
