"""A batch transform job as a ModelHost that is started and stopped like an endpoint.

A job ends by itself but costs money until then. So it is held, guarded, swept and stopped like a
hosted model, and counts as hosted from its start until it is cleaned up. A start creates a model
and the job under names derived from the job's, so that a repeated start finds them. A stop ends the
job and deletes the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lfv.client.errors import HostConflict, HostRejected, HostThrottled, ModelNotFound
from lfv.client.hosts.host_options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.hosts.sagemaker.account import hosting_tags
from lfv.client.hosts.sagemaker.host import TRAINING_OPTIONS
from lfv.client.hosts.sagemaker.resources import ModelOptions, check_role, make_model
from lfv.client.hosts.sagemaker.source import ModelSource, check_name, open_source
from lfv.client.retry import READ_RETRIES, call_with_retries
from lfv.formats.host_kinds import BATCH_JOB
from lfv.formats.status import ModelStatus

#: TransformJobStatus of jobs that are billed.
RUNNING = frozenset({"InProgress", "Stopping"})
#: Options that only the pipeline sets.
_UNLISTED = frozenset({"job", "input", "output", "content_type"})
#: Options of trainings and endpoints; ignored here because they may be set for all commands.
_UNUSED = TRAINING_OPTIONS | {
    *("endpoint_name", "runtime_endpoint_url", "max_connections", "read_timeout"),
}
_MAX_PAYLOAD_MB = 8
_INVOCATION_SECONDS = 60
_INVOCATION_RETRIES = 3


@dataclass(frozen=True)
class Options(ModelOptions):
    """The options in `HostSpec.options` for a job.

    `job` is its name, `input` the manifest of its images, `output` the prefix of its answers (both
    `s3://`), `content_type` the content type of all images, and `concurrency` the number of images
    that an instance receives at a time.
    """

    job: str = ""
    input: str = ""
    output: str = ""
    content_type: str = "image/jpeg"
    concurrency: int = 4

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Parse options. Raises HostRejected for an invalid name or value."""
        options = read_options(given, cls, host="A batch job", unlisted=_UNLISTED, unused=_UNUSED)
        check_name(options.job, "Job")
        return options


@dataclass(frozen=True)
class JobState:
    """A job's state; `status` is SageMaker's status, empty if the job does not exist."""

    status: str
    failure: str = ""
    arn: str = ""


class BatchJobHost:
    """The ModelHost of one job; for options see `Options`. The constructor raises HostError."""

    def __init__(self, spec: HostSpec) -> None:
        self._options = Options.parse(spec.options)
        self._account, self._source, self.spec = open_source(
            spec, BATCH_JOB, self._options.connect_timeout, self._options.control_timeout
        )
        #: Whether this object has cleaned up the job. An ended job is then down, unless a delayed
        #: start has left something since.
        self._was_stopped = False
        #: Whether a stop by this object is unfinished, so that the job is not down yet.
        self._stopping = False

    def job(self) -> JobState:
        """Return the current state of the job. Raises HostError."""
        found, _ = call_with_retries(self._job, READ_RETRIES)
        return found

    def _job(self) -> JobState:
        try:
            found = self._account.call("describe_transform_job", TransformJobName=self._options.job)
        except ModelNotFound:
            return JobState("")
        return JobState(
            str(found.get("TransformJobStatus", "")),
            str(found.get("FailureReason") or ""),
            str(found.get("TransformJobArn", "")),
        )

    def describe(self) -> ModelState:
        job = self.job()
        if self._stopping or job.status == "Stopping":
            status = ModelStatus.STOPPING_HOSTING
        elif self._was_stopped and job.status not in RUNNING:
            left = self._account.leftovers(self._options.job, of_job=True)
            status = ModelStatus.HOSTED if left else ModelStatus.TRAINED
        elif not job.status:
            status = ModelStatus.TRAINED
        else:  # also for ended jobs and unknown statuses, because the job's model still exists
            status = ModelStatus.HOSTED
        return ModelState(
            status=status,
            message=job.failure or (job.status if job.status != "InProgress" else ""),
            model_arn=job.arn,
            project=self.spec.project,
            version=self.spec.model_version,
        )

    def start(self, units: Units, client_token: str) -> ModelState:
        check_job(self.spec)
        if self.job().status:
            return self.describe()  # an earlier call of this start created it; its answer was lost
        options = self._options
        labels = hosting_tags(options.job, self.spec.project, client_token, self.spec.run_id)
        model = make_model(self._account, self._source, options.job, labels, options)
        # Calls that only a stop needs, so that a missing permission shows before anything is paid.
        self._account.leftovers(options.job, of_job=True)
        with suppress(HostConflict):  # the same start was already made by another call
            self._account.call("create_transform_job", **self._request(model, units), Tags=labels)
        self._was_stopped = self._stopping = False
        return self.describe()

    def _request(self, model: str, units: Units) -> dict[str, Any]:
        options = self._options
        return {
            "TransformJobName": options.job,
            "ModelName": model,
            "MaxConcurrentTransforms": options.concurrency,
            "MaxPayloadInMB": _MAX_PAYLOAD_MB,
            "BatchStrategy": "SingleRecord",
            "ModelClientConfig": {
                "InvocationsTimeoutInSeconds": _INVOCATION_SECONDS,
                "InvocationsMaxRetries": _INVOCATION_RETRIES,
            },
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": options.input}
                },
                "ContentType": options.content_type,
                "SplitType": "None",
            },
            "TransformOutput": {"S3OutputPath": options.output, "Accept": "application/json"},
            "TransformResources": {
                "InstanceType": options.instance_type,
                "InstanceCount": units.minimum,
            },
        }

    def stop(self, client_token: str) -> ModelState:  # noqa: ARG002 - StopTransformJob takes none
        self._stopping = True
        status = self.job().status
        if status == "InProgress":
            # If refused, the job has ended meanwhile, or the next call shows that it still runs.
            with suppress(HostConflict, HostRejected, ModelNotFound):
                self._account.call("stop_transform_job", TransformJobName=self._options.job)
            status = self.job().status
        if status in RUNNING:
            # The model is deleted only after the job has ended, so the stop must be repeated.
            raise HostThrottled(
                f"Job {self._options.job} is {status}.",
                operation="StopTransformJob",
                retry_after=1.0,
            )
        self._account.delete_leftovers(self._options.job, of_job=True)
        self._was_stopped, self._stopping = True, False
        return self.describe()

    def detect(self, *_: object, **__: object) -> Detection:
        raise HostRejected(
            "A batch job does not accept single images.", operation="CreateTransformJob"
        )

    def close(self) -> None:
        self._account.close()


def check_job(spec: HostSpec) -> None:
    """Check, without calling SageMaker, that a job can be created, before its images are copied.

    `spec` has a resolved model version, and needs no job yet. Raises HostRejected.
    """
    options = Options.parse({"job": "unnamed", **spec.options})
    kind, _, name = spec.model_version.partition("/")
    if kind == "endpoint":
        raise HostRejected(
            "A batch job needs a model, not an endpoint: name a model, a model package or a "
            "training job.",
            operation="CreateTransformJob",
        )
    check_role(ModelSource(kind, name), options.role_arn)
