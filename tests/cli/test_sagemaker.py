"""Commands on a SageMaker model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.client.hosts import HostSpec, Units, open_host
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.pictures import make_pictures
from tests.support.sagemaker_standin import JOB, endpoint_name

if TYPE_CHECKING:
    from lfv_store import Store
    from tests.cli.conftest import Lfv


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


def host_it(endpoint: Endpoint) -> None:
    spec = HostSpec("sagemaker", "parts", "latest", endpoint.url, None, dict(endpoint.options))
    host = open_host(spec)
    host.start(Units(1), "somebody")
    host.close()


def test_models_are_listed_with_their_hosting_status(lfv: Lfv, endpoint: Endpoint) -> None:
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url)
    (shown,) = lfv("models", *place, "--json").json()
    assert (shown["project"], shown["version"]) == ("parts", f"training-job/{JOB}")
    assert shown["status"] == "TRAINED"
    host_it(endpoint)
    (shown,) = lfv("models", *place, "--project", "parts", "--json").json()
    assert shown["status"] == "HOSTED"
    assert lfv("models", *place, "--project", "others", "--json").json() == []


def test_a_model_is_stopped(lfv: Lfv, endpoint: Endpoint) -> None:
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url)
    host_it(endpoint)
    outcome = lfv("stop", "--project", "parts", *place)
    assert outcome.status == 0, outcome.err
    assert endpoint.leftovers == []
    assert "was not hosted" in lfv("stop", "--project", "parts", *place).out


def test_a_sweep_names_and_deletes_what_nobody_uses(
    lfv: Lfv, endpoint: Endpoint, store: Store
) -> None:
    host_it(endpoint)
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url)
    outcome = lfv("sweep", *place)
    assert outcome.status != 0
    assert f"endpoint/{endpoint_name()}" in outcome.err
    assert "InService" in outcome.err
    stopping = ("sweep", *place, "--stop-unknown")
    assert f"`lfv {' '.join(stopping)}`" in outcome.err
    assert lfv(*stopping).status == 0
    assert endpoint.leftovers == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("endpoint/none", "has no endpoint none"),
        ("model/none", "has no model none"),
        ("training-job/none", "has no training job none"),
        ("model-package/none", "has no model package none"),
        ("7", "has no model package parts/7"),
    ],
)
def test_a_missing_model_is_reported_with_region_and_command(
    lfv: Lfv, endpoint: Endpoint, version: str, said: str
) -> None:
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url, "--region", "us-east-1")
    outcome = lfv("stop", "--project", "parts", "--model-version", version, *place)
    assert outcome.status == 1
    assert f"SageMaker in us-east-1 {said}; `lfv models {' '.join(place)}` lists" in outcome.err


def test_options_that_only_the_pipeline_sets_are_not_offered(
    lfv: Lfv, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LFV_HOST_OPTIONS", "role=x")
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url)
    outcome = lfv("stop", "--project", "parts", *place)
    assert "no option 'role'; its options are connect_timeout, control_timeout" in outcome.err
    assert "run_id" not in outcome.err


def test_a_call_that_is_not_allowed_names_the_policies(lfv: Lfv, endpoint: Endpoint) -> None:
    endpoint.script(fail={"ListTrainingJobs": ["AccessDeniedException"]})
    outcome = lfv("models", "--host", "sagemaker", "--endpoint-url", endpoint.url)
    assert outcome.status == 1
    assert outcome.err == (
        "lfv: ListTrainingJobs failed with AccessDeniedException: not authorized to perform this; "
        "deployments/iam has the policies that lfv needs.\n"
    )


def test_an_unknown_kind_of_host_is_reported(lfv: Lfv) -> None:
    outcome = lfv("models", "--host", "telepathy")
    assert outcome.status != 0
    assert "telepathy" in outcome.err
    assert "sagemaker" in outcome.err


def test_a_training_creates_a_version_for_inspections(
    lfv: Lfv, endpoint: Endpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    for label in ("good", "bad"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            make_pictures(folder / label / str(number), 1, first=number + 10 * (label == "bad"))
    (tmp_path / "bucket").mkdir()
    command = ["train", folder, "--project", "cookies", "--host", "sagemaker"]
    command += ["--endpoint-url", endpoint.url, "--region", "us-east-1"]
    command += ["--bucket", f"parts={tmp_path / 'bucket'}"]
    outcome = lfv(*command)
    assert outcome.status != 0
    assert "--staging" in outcome.err
    command += ["--staging", "s3://parts/staging"]
    outcome = lfv(*command)
    assert outcome.status != 0
    assert "role_arn" in outcome.err
    refused = [word if word != "cookies" else "co_okies" for word in command]
    assert "'co_okies' is not a valid SageMaker name" in lfv(*refused).err
    assert endpoint.calls("CreateTrainingJob") == []
    assert list((tmp_path / "bucket").iterdir()) == []
    outcome = lfv(*command, "--host-option", "role_arn=arn:aws:iam::1:role/x", "--json")
    assert outcome.status == 0, outcome.err
    version = outcome.json()["version"]
    place = ("--host", "sagemaker", "--endpoint-url", endpoint.url, "--json")
    (shown,) = lfv("models", *place, "--project", "cookies").json()
    assert (shown["version"], shown["status"]) == (version, "TRAINED")
