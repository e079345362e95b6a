"""The policies allow the calls that the code makes, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lfv.client.catalog import model_entries
from lfv.client.hosting import ensure_hosted, ensure_stopped
from lfv.client.hosts import HostSpec, Units, open_host
from lfv.client.hosts.sagemaker.orphans import delete_endpoint, tagged_endpoints
from lfv.run.training import train_project
from lfv.settings import get_settings
from tests.client.conftest import make_image
from tests.support.endpoints import Endpoint, endpoint_in_thread
from tests.support.sagemaker_standin import JOB, MODEL, ROLE, endpoint_name
from tests.support.service import line

IAM = Path(__file__).parents[2] / "deployments" / "iam"
#: Actions that no call of ours is named after: other services', and tags given in a create call.
_IMPLIED = {"s3:GetObject", "s3:ListBucket"}


def allowed(name: str) -> set[str]:
    """The actions of a policy."""
    policy = json.loads((IAM / f"{name}.json").read_text())
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def made(endpoint: Endpoint) -> set[str]:
    """The actions that the calls so far need."""
    if endpoint.host == "lookoutvision":
        return {f"lookoutvision:{call['operation']}" for call in endpoint.all_calls()}
    found = set()
    for call in endpoint.all_calls():
        request: dict[str, Any] = call.get("request", {})
        found.add(f"sagemaker:{call['target']}")
        if request.get("Tags"):
            found.add("sagemaker:AddTags")
        if request.get("ExecutionRoleArn"):
            found.add("iam:PassRole")
    return found


@pytest.fixture
def sagemaker() -> Iterator[Endpoint]:
    with endpoint_in_thread("sagemaker") as endpoint:
        yield endpoint


def inspect(endpoint: Endpoint, version: str, **options: str) -> None:
    """Everything that a run asks of a host."""
    given = dict(endpoint.options) | options
    region = "us-east-1"
    host = open_host(HostSpec(endpoint.host, "parts", version, endpoint.url, region, given))
    outcome = ensure_hosted(host, Units(1), "t", timeout=30)
    host.detect(make_image(), "image/png")
    if outcome.started:
        ensure_stopped(host, "t", timeout=30)
    host.close()


def test_inspection_on_lookout_for_vision() -> None:
    with endpoint_in_thread() as endpoint:
        inspect(endpoint, "1")
        # The stand-in records no lists: 'latest' is looked up with ListModels.
        found = made(endpoint) | {"lookoutvision:ListModels"}
    assert allowed("lookoutvision-inspect") == found | _IMPLIED


def test_sweeping_on_lookout_for_vision() -> None:
    with endpoint_in_thread() as endpoint:
        (entry,) = model_entries(endpoint.url)  # ListProjects and ListModels
        endpoint.script(hosted=True)
        host = open_host(HostSpec("lookoutvision", entry.project, entry.version, endpoint.url))
        ensure_stopped(host, "t", timeout=30)
        found = made(endpoint) | {"lookoutvision:ListModels", "lookoutvision:ListProjects"}
    assert allowed("lookoutvision-sweep") == found


def test_inspection_on_sagemaker(sagemaker: Endpoint) -> None:
    inspect(sagemaker, "latest")
    inspect(sagemaker, f"model-package/{JOB}", endpoint_name=endpoint_name())
    inspect(sagemaker, f"model/{MODEL}", endpoint_name=endpoint_name())
    # Versions of a model package group are looked for where no training is found.
    found = made(sagemaker) | {"sagemaker:ListModelPackages"}
    assert allowed("sagemaker-inspect") == found | _IMPLIED


def test_inspection_with_an_endpoint_of_somebody_else(sagemaker: Endpoint) -> None:
    sagemaker.script(hosted=True)
    inspect(sagemaker, f"endpoint/{endpoint_name()}")
    assert allowed("sagemaker-adopt") == made(sagemaker) | _IMPLIED


def test_training_on_sagemaker(sagemaker: Endpoint, tmp_path: Path) -> None:
    rows = []
    for number in range(2):
        path = tmp_path / f"{number}.png"
        path.write_bytes(make_image(size=(64, 64 + 0 * number)))
        rows.append(line(str(path), "anomaly" if number else "normal"))
    (tmp_path / "train.manifest").write_text("\n".join(rows))
    (tmp_path / "bucket").mkdir()
    settings = get_settings(
        home=tmp_path,
        host="sagemaker",
        endpoint_url=sagemaker.url,
        host_options={"role_arn": ROLE},
        staging_uri="s3://parts/staging",
        buckets={"parts": tmp_path / "bucket"},
        region="us-east-1",
    )
    train_project(settings, str(tmp_path / "train.manifest"), "cookies")
    found = {f"sagemaker:{call['target']}" for call in sagemaker.all_calls()}
    needed = found | {"sagemaker:AddTags", "iam:PassRole"} | _IMPLIED | {"s3:PutObject"}
    assert allowed("sagemaker-train") == needed


def test_sweeping_the_sagemaker_account(sagemaker: Endpoint) -> None:
    options = dict(sagemaker.options)
    host = open_host(HostSpec("sagemaker", "parts", "latest", sagemaker.url, None, options))
    host.start(Units(1), "lost")
    before = len(sagemaker.all_calls())
    (found,) = tagged_endpoints(sagemaker.url, "us-east-1")
    delete_endpoint(found, sagemaker.url, "us-east-1", timeout=30)
    calls = sagemaker.all_calls()[before:]
    needed = {f"sagemaker:{call['target']}" for call in calls}
    # What an endpoint hosts is described while it exists.
    also = {"sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"}
    assert allowed("sagemaker-sweep") == needed | also


def test_every_policy_is_named_and_deletes_only_what_is_ours() -> None:
    page = (IAM / "README.md").read_text()
    for path in IAM.glob("*.json"):
        assert path.name in page
        for statement in json.loads(path.read_text())["Statement"]:
            for action in statement["Action"]:
                assert re.fullmatch(r"(iam|s3|sagemaker|lookoutvision):[A-Za-z]+", action)
                if ":Delete" in action:
                    tag = statement["Condition"]["StringEquals"]["aws:ResourceTag/lfv:created-by"]
                    assert tag == "lfv"
