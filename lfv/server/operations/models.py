"""CreateModel, DeleteModel, DescribeModel, ListModels."""

from __future__ import annotations

from uuid import uuid4

from lfv.formats.status import ModelStatus
from lfv.formats.training_request import TrainingRequest
from lfv.formats.words import count_of
from lfv.server.errors import ConflictError, QuotaExceededError, ValidationError
from lfv.server.lifecycle import ModelEvent
from lfv.server.operations.call import Call, Members
from lfv.server.operations.tags import as_dict, check_count
from lfv.server.state import datasets, models, packaging, projects
from lfv.server.state.datasets import Dataset, ImageStats
from lfv.server.state.models import Model, NewModel
from lfv.server.state.projects import Project


def create_model(call: Call, members: Members) -> Members:
    project = call.project(members)
    tags = as_dict(members.get("Tags", []))
    check_count(call, tags)
    try:
        request = TrainingRequest.from_tags(tags)
    except ValueError as error:
        raise ValidationError(str(error)) from error
    train, test = _training_data(call, project)
    _check_images(call, train, test)
    _check_quotas(call, project)
    version = projects.next_version(call.tx, project)
    at = members["OutputConfig"]["S3Location"]
    model = models.create(
        call.tx,
        project,
        NewModel(
            id=uuid4().hex,
            version=version,
            arn=call.arn(f"model/{project.name}/{version}"),
            description=members.get("Description"),
            kms_key_id=members.get("KmsKeyId"),
            output_bucket=at["Bucket"],
            output_prefix=at.get("Prefix"),
        ),
        call.now,
    )
    models.put_tags(call.tx, model, tags)
    # On a full disk, failing calls must not leave files.
    call.tx.after_rollback.append(lambda: call.work.remove_model(model.id))
    # Training uses the datasets as they are now, even if they change later.
    call.work.trainings.prepare(
        model.id,
        {
            kind: datasets.labelled_lines(call.tx, project.id, kind)
            for kind, dataset in (("train", train), ("test", test))
            if dataset is not None
        },
        request,
    )
    call.after_commit(lambda: call.work.train(model.id))
    return {"ModelMetadata": _metadata(call, model)}


def _check_quotas(call: Call, project: Project) -> None:
    limits = call.limits
    if models.count(call.tx, project) >= limits.models_per_project:
        raise QuotaExceededError(
            f"project {project.name} has {count_of(limits.models_per_project, 'model')},"
            " which is the limit",
            "models-per-project",
            project.name,
            "PROJECT",
        )
    if models.count_training(call.tx) >= limits.concurrent_trainings:
        raise QuotaExceededError(
            f"{count_of(limits.concurrent_trainings, 'model')} may be trained at a time; try again"
            " when one has finished",
            "concurrent-trainings",
        )


def _training_data(call: Call, project: Project) -> tuple[Dataset, Dataset | None]:
    train = datasets.find(call.tx, project.id, "train")
    test = datasets.find(call.tx, project.id, "test")
    if train is None:
        raise ConflictError(
            f"project {project.name} has no train dataset to train from", project.name, "PROJECT"
        )
    for dataset in (train, test):
        if dataset is not None and not dataset.is_usable:
            raise ConflictError(
                f"the {dataset.kind} dataset of {project.name} is {dataset.status}",
                f"{project.name}/{dataset.kind}",
                "DATASET",
            )
    return train, test


def _check_images(call: Call, train: Dataset, test: Dataset | None) -> None:
    """Check the published minimums if the option is set, otherwise only that there is an image.

    No public source has the original's error.
    """
    counts = datasets.stats(call.tx, train)
    if counts.normal == 0:
        raise ValidationError("the train dataset has no image labelled normal")
    if not call.limits.original_minimums:
        return
    if test is None:
        _demand("train", counts, normal=20, anomaly=10)
    else:
        _demand("train", counts, normal=10, anomaly=0)
        _demand("test", datasets.stats(call.tx, test), normal=10, anomaly=10)


def _demand(kind: str, counts: ImageStats, *, normal: int, anomaly: int) -> None:
    if counts.normal < normal or counts.anomaly < anomaly:
        raise ValidationError(
            f"the {kind} dataset has {counts.normal} normal and {counts.anomaly} anomaly images;"
            f" at least {normal} and {anomaly} are needed"
        )


def delete_model(call: Call, members: Members) -> Members:
    model = call.model(members)
    if packaging.packs(call.tx, model):
        raise ConflictError(f"model {model.name} is being packaged", model.name, "MODEL")
    models.move(call.tx, model, ModelEvent.DELETE, "The model is being deleted.")
    call.after_commit(lambda: call.work.remove_model(model.id))
    return {"ModelArn": model.arn}


def describe_model(call: Call, members: Members) -> Members:
    model = call.model(members)
    location: Members = {"Bucket": model.output_bucket, "Prefix": model.output_prefix}
    return {
        "ModelDescription": {
            **_metadata(call, model),
            "OutputConfig": {"S3Location": location},
            "EvaluationManifest": _file(model, model.evaluation_manifest_key),
            "EvaluationResult": _file(model, model.evaluation_result_key),
            "EvaluationEndTimestamp": model.evaluated_at,
            "KmsKeyId": model.kms_key_id,
            "MinInferenceUnits": model.min_units,
            "MaxInferenceUnits": model.max_units,
        }
    }


def list_models(call: Call, members: Members) -> Members:
    project = call.project(members)
    page, token = call.page(
        "ListModels",
        members,
        lambda after, size: models.page(call.tx, project, after, size),
        lambda model: model.version,
    )
    return {"Models": [_metadata(call, model) for model in page], "NextToken": token}


def _metadata(call: Call, model: Model) -> Members:
    message = model.message
    if model.status == ModelStatus.TRAINING:
        message = call.work.trainings.progress(model.id) or message
    elif model.status == ModelStatus.TRAINED and model.training_remarks:
        message = f"{message} {model.training_remarks}"
    figures = {"F1Score": model.f1, "Precision": model.precision, "Recall": model.recall}
    # An undefined figure is omitted: 0 would mean a useless model.
    performance = {name: figure for name, figure in figures.items() if figure is not None}
    return {
        "CreationTimestamp": model.created_at,
        "ModelVersion": str(model.version),
        "ModelArn": model.arn,
        "Description": model.description,
        "Status": model.status,
        "StatusMessage": message,
        "Performance": performance or None,
    }


def _file(model: Model, key: str | None) -> Members | None:
    return None if key is None else {"Bucket": model.output_bucket, "Key": key}
