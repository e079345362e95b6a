"""Which training job a SageMaker model is from."""

from __future__ import annotations

from typing import Any

import pytest

from lfv.client.hosts.sagemaker.source import ModelSource, look_up

JOB = "flange-20260304050607"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"
OUTPUT = f"s3://bucket/models/{JOB}/output/model.tar.gz"


class Account:
    """A SageMaker whose content a test sets."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def call(self, _operation: str, **_: Any) -> dict[str, Any]:
        return self.answer


@pytest.mark.parametrize(
    ("source", "answer", "training"),
    [
        (
            ModelSource("model-package", JOB),
            {"ModelPackageArn": f"{ARN}:model-package/{JOB}"},
            f"training-job/{JOB}",
        ),
        (
            ModelSource("model-package", "theirs"),
            {
                "ModelPackageArn": f"{ARN}:model-package/theirs",
                "SourceAlgorithmSpecification": {"SourceAlgorithms": [{"ModelDataUrl": OUTPUT}]},
            },
            f"training-job/{JOB}",
        ),
        (
            ModelSource("model", "mine"),
            {
                "ModelArn": f"{ARN}:model/mine",
                "PrimaryContainer": {"ModelPackageName": f"{ARN}:model-package/{JOB}"},
            },
            f"training-job/{JOB}",
        ),
        (
            ModelSource("model", "mine"),
            {"ModelArn": f"{ARN}:model/mine", "Containers": [{"ModelDataUrl": OUTPUT}]},
            f"training-job/{JOB}",
        ),
        (
            ModelSource("model", "mine"),
            {
                "ModelArn": f"{ARN}:model/mine",
                "PrimaryContainer": {"ModelDataUrl": "s3://bucket/a/model.tar.gz"},
            },
            "",
        ),
        (
            ModelSource("model-package", "group"),
            {"ModelPackageArn": f"{ARN}:model-package/group/3"},
            "",
        ),
    ],
)
def test_the_training_job_behind_a_model_is_found(
    source: ModelSource, answer: dict[str, Any], training: str
) -> None:
    assert look_up(Account(answer), source).training == training  # type: ignore[arg-type]
