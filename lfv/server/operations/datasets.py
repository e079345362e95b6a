"""CreateDataset, DeleteDataset, DescribeDataset, ListDatasetEntries, UpdateDatasetEntries."""

from __future__ import annotations

from datetime import datetime

from lfv.server.errors import ValidationError
from lfv.server.lifecycle import DatasetStatus
from lfv.server.operations.call import Call, Members
from lfv.server.state import datasets
from lfv.server.state.datasets import EntryFilter, Source


def create_dataset(call: Call, members: Members) -> Members:
    project = call.project(members)
    kind = members["DatasetType"]
    source = _source(members)
    datasets.create(call.tx, project, kind, source, call.now)
    if source is not None:
        call.after_commit(lambda: call.work.process_dataset(project.id, kind))
    made = datasets.get(call.tx, project, kind)
    return {
        "DatasetMetadata": {
            "DatasetType": made.kind,
            "CreationTimestamp": made.created_at,
            "Status": made.status,
            "StatusMessage": made.message,
        }
    }


def _source(members: Members) -> Source | None:
    if "DatasetSource" not in members:
        return None
    at = members["DatasetSource"].get("GroundTruthManifest", {}).get("S3Object")
    if at is None:
        raise ValidationError(
            "Value at 'datasetSource.groundTruthManifest.s3Object' failed to satisfy constraint:"
            " Member must not be null"
        )
    return Source(at["Bucket"], at["Key"], at.get("VersionId"))


def delete_dataset(call: Call, members: Members) -> Members:
    dataset = datasets.get(call.tx, call.project(members), members["DatasetType"])
    datasets.remove(call.tx, dataset)
    return {}


def describe_dataset(call: Call, members: Members) -> Members:
    dataset = datasets.get(call.tx, call.project(members), members["DatasetType"])
    stats = datasets.stats(call.tx, dataset)
    return {
        "DatasetDescription": {
            "ProjectName": dataset.project_name,
            "DatasetType": dataset.kind,
            "CreationTimestamp": dataset.created_at,
            "LastUpdatedTimestamp": dataset.updated_at,
            "Status": dataset.status,
            "StatusMessage": dataset.message,
            "ImageStats": {
                "Total": stats.total,
                "Labeled": stats.normal + stats.anomaly,
                "Normal": stats.normal,
                "Anomaly": stats.anomaly,
            },
        }
    }


def list_dataset_entries(call: Call, members: Members) -> Members:
    dataset = datasets.get(call.tx, call.project(members), members["DatasetType"])
    wanted = EntryFilter(
        labeled=members.get("Labeled"),
        label=members.get("AnomalyClass"),
        before=_seconds(members.get("BeforeCreationDate")),
        after=_seconds(members.get("AfterCreationDate")),
        ref_contains=members.get("SourceRefContains"),
    )
    page, token = call.page(
        "ListDatasetEntries",
        members,
        lambda after, size: datasets.page(call.tx, dataset, wanted, after, size),
        lambda entry: entry[0],
    )
    return {"DatasetEntries": [line for _, line in page], "NextToken": token}


def update_dataset_entries(call: Call, members: Members) -> Members:
    project = call.project(members)
    dataset = datasets.get(call.tx, project, members["DatasetType"])
    datasets.begin_update(call.tx, dataset, members["Changes"], call.now)
    call.after_commit(lambda: call.work.process_dataset(project.id, dataset.kind))
    return {"Status": DatasetStatus.UPDATE_IN_PROGRESS}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
