"""Projects and models of an endpoint: all pages are read, and errors are translated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lfv.client.catalog import ModelEntry, model_entries
from lfv.client.errors import HostRejected, HostUnreachable, ModelNotFound
from tests.client.conftest import Reply, Request, ScriptedApi, api_error


def model(version: str, created: float, **more: Any) -> dict[str, Any]:
    return {
        "ModelVersion": version,
        "Status": "TRAINED",
        "CreationTimestamp": created,
    } | more


def test_all_pages_of_projects_are_read(api: ScriptedApi) -> None:
    def answer(request: Request) -> Reply:
        path, _, query = request.path.partition("?")
        more = "nextToken" in query
        if path.endswith("/projects"):
            names = ["a"] if more else ["b"]
            page: dict[str, Any] = {"Projects": [{"ProjectName": name} for name in names]}
        elif "/projects/a/" in path:
            page = {"Models": [model("2", 2) if more else model("1", 1)]}
        else:
            measured = {"F1Score": 0.5, "Precision": 0.25, "Recall": 1.0}
            page = {"Models": [model("10", 3, Performance=measured), model("9", 3)]}
        last = more or "/projects/b/" in path
        return Reply(200, page | ({} if last else {"NextToken": "more"}))

    api.answer = answer
    entries = model_entries(api.url)
    assert [(entry.project, entry.version) for entry in entries] == [
        ("a", "2"),
        ("a", "1"),
        ("b", "10"),
        ("b", "9"),
    ]
    assert entries[2] == ModelEntry(
        project="b",
        version="10",
        status="TRAINED",
        created_at=datetime.fromtimestamp(3, UTC),
        f1=0.5,
        precision=0.25,
        recall=1.0,
    )


def test_one_project(api: ScriptedApi) -> None:
    api.queue(Reply(200, {"Models": [model("1", 1)]}))
    assert [entry.version for entry in model_entries(api.url, project="a")] == ["1"]
    assert len(api.requests) == 1


def test_failures_are_translated(api: ScriptedApi) -> None:
    api.queue(api_error(404, "ResourceNotFoundException"))
    with pytest.raises(ModelNotFound):
        model_entries(api.url, project="none")
    api.close()
    with pytest.raises(HostUnreachable):
        model_entries(api.url)
    with pytest.raises(HostRejected):
        model_entries("no address")
