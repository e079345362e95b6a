"""Answers and errors of every operation against the model in botocore 1.40.60 itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ServiceModel

from lfv.client.api import DATA_PATH
from tests.support.service import (
    BUCKET,
    Service,
    dataset_done,
    detect,
    line,
    model_in,
    png,
    put_images,
    put_manifest,
    running,
)
from tests.support.waiting import wait_until

VERSION = Path("lookoutvision") / "2020-11-20"


@pytest.fixture(scope="module")
def original(amazon: Path) -> Callable[[str], dict[str, Any]]:
    """Reads a data file of the original client."""
    (folder,) = amazon.glob("lib/python*/site-packages/botocore/data")

    def read(name: str) -> dict[str, Any]:
        packed = folder / VERSION / f"{name}.json.gz"
        if packed.exists():
            content = gzip.decompress(packed.read_bytes())
        else:
            content = (folder / VERSION / f"{name}.json").read_bytes()
        document: dict[str, Any] = json.loads(content)
        return document

    return read


@pytest.fixture(scope="module")
def original_model(original: Callable[[str], dict[str, Any]]) -> ServiceModel:
    return ServiceModel(original("service-2"), "lookoutvision")


def facts(node: Any) -> Any:
    """A data file without its prose."""
    if isinstance(node, dict):
        return {
            key: facts(value)
            for key, value in node.items()
            if not (key == "documentation" and isinstance(value, str))
        }
    return [facts(item) for item in node] if isinstance(node, list) else node


def test_our_model_states_the_same_facts(original: Callable[[str], dict[str, Any]]) -> None:
    ours = json.loads((DATA_PATH / VERSION / "service-2.json").read_text())
    theirs = original("service-2")
    assert facts(ours["shapes"]) == facts(theirs["shapes"])
    assert ours["metadata"] == theirs["metadata"]
    assert set(ours["operations"]) == set(theirs["operations"])
    for name, operation in theirs["operations"].items():
        mine = facts(ours["operations"][name])
        errors = {error["shape"] for error in mine.pop("errors")}
        expected = facts(operation)
        assert errors == {error["shape"] for error in expected.pop("errors")}
        assert mine == expected
    pages = json.loads((DATA_PATH / VERSION / "paginators-1.json").read_text())
    assert pages == original("paginators-1")


def test_our_prose_is_our_own(original: Callable[[str], dict[str, Any]]) -> None:
    def prose(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(prose, node)) if node else set()
        if not isinstance(node, dict):
            return set()
        found = {node["documentation"]} if isinstance(node.get("documentation"), str) else set()
        return found.union(*map(prose, node.values()))

    ours = prose(json.loads((DATA_PATH / VERSION / "service-2.json").read_text()))
    theirs = " ".join(prose(original("service-2")))
    assert not [text for text in ours if text in theirs]


def test_every_operation_answers_as_modelled(
    original_model: ServiceModel, service: Service
) -> None:
    """The client's hook checks each raw answer; this test only calls every operation."""
    client = service.client(original_model)
    called: set[str] = set()
    client.meta.events.register("after-call.*.*", lambda model, **_: called.add(model.name))
    names = {"ProjectName": "all"}
    client.create_project(**names)
    client.list_projects(MaxResults=1)
    for kind in ("train", "test"):
        source = put_manifest(
            service, f"all/{kind}.manifest", put_images(service, f"all/{kind}", masks=True)
        )
        client.create_dataset(**names, DatasetType=kind, DatasetSource=source)
        dataset_done(client, "all", kind)
    dataset = {**names, "DatasetType": "train"}
    client.list_dataset_entries(**dataset, MaxResults=1)
    changes = line(f"s3://{BUCKET}/all/train/0.png").encode()
    client.update_dataset_entries(**dataset, Changes=changes)
    dataset_done(client, "all")
    client.describe_project(**names)
    client.create_model(
        **names,
        OutputConfig={"S3Location": {"Bucket": BUCKET, "Prefix": "all/out"}},
        Description="A-model",
        KmsKeyId="alias/key",
        Tags=[{"Key": "a", "Value": "b"}],
    )
    arn = model_in(client, "all", "TRAINED")["ModelArn"]
    client.list_models(**names)
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    client.list_tags_for_resource(ResourceArn=arn)
    client.untag_resource(ResourceArn=arn, TagKeys=["a"])
    model = {**names, "ModelVersion": "1"}
    client.start_model(**model, MinInferenceUnits=1, MaxInferenceUnits=2)
    model_in(client, "all", "HOSTED")
    assert detect(client, "all", png(bright=True))["Anomalies"]
    component = {
        "S3OutputLocation": {"Bucket": BUCKET, "Prefix": "all/packages"},
        "ComponentName": "all.component",
        "TargetPlatform": {"Os": "LINUX", "Arch": "X86_64"},
        "CompilerOptions": '{"mcpu": "core-avx2"}',
        "ComponentDescription": "All of it",
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    job = client.start_model_packaging_job(
        **model, JobName="all", Configuration={"Greengrass": component}, Description="All of it"
    )["JobName"]
    wait_until(
        lambda: (
            client.describe_model_packaging_job(**names, JobName=job)["ModelPackagingDescription"][
                "Status"
            ]
            == "SUCCEEDED"
        )
    )
    client.list_model_packaging_jobs(**names)
    client.stop_model(**model)
    model_in(client, "all", "TRAINED")
    client.delete_model(**model)
    wait_until(lambda: not client.list_models(**names)["Models"])
    for kind in ("train", "test"):
        client.delete_dataset(**names, DatasetType=kind)
    client.delete_project(**names)
    assert called == set(original_model.operation_names)


def example(shape: Any, *, good: bool) -> Any:
    """A value for a required member: one that is accepted, or one that no constraint allows."""
    known = {
        "ProjectName": "nowhere",
        "DatasetType": "train",
        "ModelVersion": "1",
        "ModelVersionNoLatest": "1",
        "ModelPackagingJobName": "nothing",
        "TagArn": "arn:aws:lookoutvision:us-east-1:000000000000:model/nowhere/1",
        "S3BucketName": BUCKET,
        "ContentType": "image/png",
        "ComponentName": "name",
    }
    if shape.type_name == "structure":
        return {name: example(shape.members[name], good=good) for name in shape.required_members}
    if shape.type_name == "list":
        return [example(shape.member, good=good)]
    if shape.type_name == "integer":
        return 1 if good else -1
    if shape.type_name == "blob":
        return png() if good else b""
    return known.get(shape.name, "x") if good else "&"


def test_every_operation_refuses_as_modelled(
    original_model: ServiceModel, service: Service, tmp_path: Path
) -> None:
    """Missing resources, invalid input and unknown keys, for each operation with such errors.

    The client's hook checks that the operation has that error and that its members are all there.
    """
    from botocore import xform_name

    with running(tmp_path, credentials={"KEY": "secret"}) as guarded:
        refused: dict[str, set[str]] = {}
        for client, good in (
            (service.client(original_model), True),
            (service.client(original_model), False),
            (guarded.client(original_model), True),
        ):
            for name in original_model.operation_names:
                shape = original_model.operation_model(name).input_shape
                members = example(shape, good=good)
                if name in ("CreateProject", "ListProjects"):
                    members = {} if name == "CreateProject" else {"MaxResults": 0}
                try:
                    getattr(client, xform_name(name))(**members)
                except ClientError as error:
                    refused.setdefault(name, set()).add(error.response["Error"]["Code"])
        for name, codes in refused.items():
            expected = {"AccessDeniedException", "ValidationException"}
            if name not in ("CreateProject", "ListProjects"):
                expected.add("ResourceNotFoundException")
            if name == "ListTagsForResource":  # an ARN has no pattern to violate
                expected.discard("ValidationException")
            assert codes == expected, name
        assert set(refused) == set(original_model.operation_names)
