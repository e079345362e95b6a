"""Writes a training's files to the bucket of its OutputConfig, under the original's names.

EvaluationManifest-PROJECT-VERSION.json   a JSON line for each evaluated image: its manifest line
                                          with the model's verdict added
EvaluationResult-PROJECT-VERSION.json     the figures
TrainingReport-PROJECT-VERSION/           the training report in HTML, which the original lacked
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from lfv.formats.manifest.strict_json import parse_object
from lfv.formats.manifest.writing import with_verdict
from lfv.server.buckets import Buckets
from lfv.server.manifests import stored_entry
from lfv.server.state.models import Model

_MANIFEST = "EvaluationManifest"
_RESULT = "EvaluationResult"


def write_evaluation(
    folder: Path,
    model: Model,
    lines: Mapping[str, str],
    trained: Mapping[str, Any],
    ended_at: float,
) -> tuple[Path, Path]:
    """Write both files into a folder; ``lines`` are the images' manifest lines by source-ref.

    The files have short names, because a project's name can be as long as a file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest, result = folder / f"{_MANIFEST}.json", folder / f"{_RESULT}.json"
    moment = datetime.fromtimestamp(ended_at, UTC).replace(tzinfo=None)
    ended = moment.isoformat(timespec="microseconds")
    with manifest.open("wb") as file:
        for line in _lines(model, lines, trained["evaluated"], ended):
            file.write(line + b"\n")
    result.write_bytes(orjson.dumps(_document(model, trained, ended), option=orjson.OPT_INDENT_2))
    return manifest, result


def _document(model: Model, trained: Mapping[str, Any], ended: str) -> dict[str, Any]:
    """Return the result in the schema of the developer guide, "Reviewing the evaluation result".

    Members that the original did not have are under ``Details``.
    """
    evaluation = trained["evaluation"]
    counted = evaluation["EvaluationDetails"]
    aggregated = evaluation["AggregatedEvaluationResults"]
    details = dict(evaluation.get("Details", {}))
    if "ConfusionMatrix" in aggregated:
        details["ConfusionMatrix"] = aggregated["ConfusionMatrix"]
    if "LabelEvaluationResults" in evaluation:
        details["LabelEvaluationResults"] = evaluation["LabelEvaluationResults"]
    return {
        "Version": 1,
        "EvaluationDetails": {
            "ModelArn": model.arn,
            "EvaluationEndTimestamp": ended,
            "NumberOfTrainingImages": counted["NumberOfTrainingImages"],
            "NumberOfTestingImages": counted["NumberOfTestingImages"],
        },
        "AggregatedEvaluationResults": {
            "Metrics": aggregated["Metrics"],
        },
        "Details": details,
    }


def _lines(
    model: Model, lines: Mapping[str, str], evaluated: Iterable[Mapping[str, Any]], ended: str
) -> Iterable[bytes]:
    for image in evaluated:
        entry = stored_entry(lines[image["source_ref"]])
        row = with_verdict(
            parse_object(entry.line.encode()),
            entry.item.label_attribute,
            is_anomalous=bool(image["is_anomalous"]),
            confidence=image["confidence"],
            areas=image["areas"],
            creation_date=ended,
            model={
                "model-arn": model.arn,
                "project-name": model.project_name,
                "model-version": str(model.version),
            },
        )
        yield orjson.dumps(row)


def publish(
    buckets: Buckets, model: Model, manifest: Path, result: Path, report: Path
) -> tuple[str, str]:
    """Write both files, and the report if there is one, to the bucket. Return the files' keys.

    Raises BucketError.
    """
    # No slash after the prefix: awslabs' SDK sends k_fold_ and reads k_fold_Evaluation...
    prefix = model.output_prefix or ""
    of_model = f"{model.project_name}-{model.version}"
    keys = tuple(f"{prefix}{name}-{of_model}.json" for name in (_MANIFEST, _RESULT))
    for key, file in zip(keys, (manifest, result), strict=True):
        buckets.write(model.output_bucket, key, file)
    if report.is_dir():
        base = f"{prefix}TrainingReport-{of_model}"
        for file in sorted(report.rglob("*")):
            if file.is_file():
                key = f"{base}/{file.relative_to(report).as_posix()}"
                buckets.write(model.output_bucket, key, file)
    return keys[0], keys[1]
