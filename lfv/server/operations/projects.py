"""CreateProject, DeleteProject, DescribeProject, ListProjects."""

from __future__ import annotations

from lfv.server.errors import QuotaExceededError
from lfv.server.operations.call import Call, Members
from lfv.server.state import datasets, projects
from lfv.server.state.projects import Project


def create_project(call: Call, members: Members) -> Members:
    name = members["ProjectName"]
    made = projects.create(call.tx, name, call.arn(f"project/{name}"), call.now)
    # After the check for a conflict, which scripts rely on to create a project once.
    if projects.count(call.tx) > call.limits.projects:
        raise QuotaExceededError(
            f"there are {call.limits.projects} projects, which is the limit", "projects"
        )
    return {"ProjectMetadata": _metadata(made)}


def delete_project(call: Call, members: Members) -> Members:
    project = call.project(members)
    projects.remove(call.tx, project)
    return {"ProjectArn": project.arn}


def describe_project(call: Call, members: Members) -> Members:
    project = call.project(members)
    listed = [
        {
            "DatasetType": dataset.kind,
            "CreationTimestamp": dataset.created_at,
            "Status": dataset.status,
            "StatusMessage": dataset.message,
        }
        for dataset in datasets.of_project(call.tx, project)
    ]
    return {"ProjectDescription": {**_metadata(project), "Datasets": listed}}


def list_projects(call: Call, members: Members) -> Members:
    page, token = call.page(
        "ListProjects",
        members,
        lambda after, size: projects.page(call.tx, after, size),
        lambda project: project.id,
    )
    return {"Projects": [_metadata(project) for project in page], "NextToken": token}


def _metadata(project: Project) -> Members:
    return {
        "ProjectArn": project.arn,
        "ProjectName": project.name,
        "CreationTimestamp": project.created_at,
    }
