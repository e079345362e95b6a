"""Projects, pagination and client tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.service import Service, make_model


def test_project_from_beginning_to_end(client: Any, name: str) -> None:
    made = client.create_project(ProjectName=name)["ProjectMetadata"]
    assert made["ProjectArn"] == f"arn:aws:lookoutvision:us-east-1:000000000000:project/{name}"
    described = client.describe_project(ProjectName=name)["ProjectDescription"]
    assert described == {**made, "Datasets": []}
    assert client.delete_project(ProjectName=name)["ProjectArn"] == made["ProjectArn"]
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.describe_project(ProjectName=name)
    assert caught.value.response["ResourceId"] == name
    assert caught.value.response["ResourceType"] == "PROJECT"


def test_a_name_is_unique(client: Any, project: str) -> None:
    with pytest.raises(client.exceptions.ConflictException) as caught:
        client.create_project(ProjectName=project)
    assert caught.value.response["ResourceType"] == "PROJECT"


def test_project_with_models_stays(service: Service, client: Any, name: str) -> None:
    make_model(client, service, name)
    with pytest.raises(client.exceptions.ConflictException, match="models"):
        client.delete_project(ProjectName=name)
    client.delete_model(ProjectName=name, ModelVersion="1")
    with pytest.raises(client.exceptions.ConflictException, match=r"datasets|models"):
        client.delete_project(ProjectName=name)


@pytest.mark.parametrize("bad", ["-x", "a b", "ä", "x" * 256, "a/b", "a%2Fb", "a\n"])
def test_bad_names_are_named(client: Any, bad: str) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="projectName"):
        client.create_project(ProjectName=bad)
    with pytest.raises(client.exceptions.ValidationException, match="projectName"):
        client.describe_project(ProjectName=bad)


def test_region_comes_from_the_signature(start: Callable[..., Service]) -> None:
    from lfv.client.api import lookoutvision_client

    client = lookoutvision_client(start().url, "eu-central-1")
    arn = client.create_project(ProjectName="there")["ProjectMetadata"]["ProjectArn"]
    client.close()
    assert arn == "arn:aws:lookoutvision:eu-central-1:000000000000:project/there"


def test_pages(start: Callable[..., Service]) -> None:
    client = start().client()
    names = [f"p{number:03}" for number in range(25)]
    for name in names:
        client.create_project(ProjectName=name)
    pages = list(client.get_paginator("list_projects").paginate(PaginationConfig={"PageSize": 10}))
    assert [len(page["Projects"]) for page in pages] == [10, 10, 5]
    assert "NextToken" not in pages[-1]
    assert [p["ProjectName"] for page in pages for p in page["Projects"]] == names
    token = pages[0]["NextToken"]
    # A token works with another page size, and survives a change of what is listed.
    client.delete_project(ProjectName="p009")
    after = client.list_projects(NextToken=token, MaxResults=3)["Projects"]
    assert [p["ProjectName"] for p in after] == ["p010", "p011", "p012"]
    with pytest.raises(client.exceptions.ValidationException, match="pagination token"):
        client.list_models(ProjectName="p000", NextToken=token)
    flipped = ("B" if token[0] != "B" else "C") + token[1:]
    for bad in (flipped, token[:-4], token + "AAAA", "AAAA", "=", "+/+/"):
        with pytest.raises(client.exceptions.ValidationException):
            client.list_projects(NextToken=bad)
    with pytest.raises(client.exceptions.ValidationException, match="nextToken"):
        client.list_projects(NextToken="not a token")
    for size in (0, 101, -1):
        with pytest.raises(client.exceptions.ValidationException, match="maxResults"):
            client.list_projects(MaxResults=size)


def test_new_projects_come_after_those_of_earlier_pages(start: Callable[..., Service]) -> None:
    client = start().client()
    for name in ("one", "two", "three"):
        client.create_project(ProjectName=name)
    token = client.list_projects(MaxResults=2)["NextToken"]
    for name in ("two", "three"):
        client.delete_project(ProjectName=name)
    client.create_project(ProjectName="new")
    after = client.list_projects(NextToken=token)["Projects"]
    assert [project["ProjectName"] for project in after] == ["new"]


def test_same_token_same_call(client: Any, name: str) -> None:
    first = client.create_project(ProjectName=name, ClientToken=f"token-{name}")
    again = client.create_project(ProjectName=name, ClientToken=f"token-{name}")
    assert again["ProjectMetadata"] == first["ProjectMetadata"]
    with pytest.raises(client.exceptions.ConflictException, match="ClientToken"):
        client.create_project(ProjectName=f"{name}-other", ClientToken=f"token-{name}")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_project(ProjectName=f"{name}-other")
    # For another operation it is another token.
    client.delete_project(ProjectName=name, ClientToken=f"token-{name}")
    client.delete_project(ProjectName=name, ClientToken=f"token-{name}")


def test_failed_call_does_not_use_up_its_token(client: Any, project: str) -> None:
    with pytest.raises(client.exceptions.ConflictException):
        client.create_project(ProjectName=project, ClientToken=f"retry-{project}")
    client.delete_project(ProjectName=project)
    client.create_project(ProjectName=project, ClientToken=f"retry-{project}")


def test_quota(start: Callable[..., Service]) -> None:
    client = start(limits={"projects": 1}).client()
    client.create_project(ProjectName="one")
    with pytest.raises(client.exceptions.ServiceQuotaExceededException) as caught:
        client.create_project(ProjectName="two")
    assert [p["ProjectName"] for p in client.list_projects()["Projects"]] == ["one"]
    with pytest.raises(client.exceptions.ConflictException):
        client.create_project(ProjectName="one")
    assert caught.value.response["ServiceCode"] == "lookoutvision"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402
