"""One batch transform job as a thing that is up and comes down, like an endpoint.

A job ends by itself, but until then it is paid for; so whatever holds, guards, sweeps and stops
models does the same with a job: it is "hosted" while it exists and has not been put away. A start
makes a model and the job, under names that follow from the job's, so that a start whose answer was
lost is found again. A stop ends the job and deletes the model.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from lfv.client.clock import SYSTEM_CLOCK, Clock
from lfv.client.errors import HostConflict, HostRejected, HostThrottled, ModelNotFound
from lfv.client.hosts.options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.hosts.sagemaker import account as tags
from lfv.client.hosts.sagemaker.account import Account, tag_list, utc
from lfv.client.hosts.sagemaker.creating import make_model
from lfv.client.hosts.sagemaker.host import DEFAULT_INSTANCE_TYPE, TRAINING_OPTIONS
from lfv.client.hosts.sagemaker.source import LOOKING, check_name, open_source
from lfv.client.retry import call_with_retries
from lfv.formats.status import ModelStatus

KIND = "sagemaker-batch"
#: TransformJobStatus of a job that is paid for.
RUNNING = frozenset({"InProgress", "Stopping"})
_MAX_PAYLOAD_MB = 8
_INVOCATION_SECONDS = 60
_INVOCATION_RETRIES = 3


@dataclass(frozen=True)
class Options:
    """What `HostSpec.options` holds for a job.

    `job` is its name, `input` the manifest of its images and `output` the prefix of its answers
    (both `s3://`), `content_type` that of all images, `concurrency` the images that an instance
    gets at a time. The others are those of an endpoint.
    """

    job: str = ""
    input: str = ""
    output: str = ""
    content_type: str = "image/jpeg"
    instance_type: str = DEFAULT_INSTANCE_TYPE
    role_arn: str = ""
    network_isolation: bool = True
    concurrency: int = 4
    run_id: str = ""
    connect_timeout: float = 5.0
    control_timeout: float = 15.0

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Raises HostRejected for a name or value that is unusable."""
        unused = {*TRAINING_OPTIONS, "endpoint_name", "runtime_endpoint_url", "max_connections"}
        unused |= {"read_timeout"}
        mine = {name: value for name, value in given.items() if name not in unused}
        kinds = {option.name: type(option.default) for option in fields(cls)}
        options = cls(**read_options(mine, kinds, host="A batch job"))
        check_name(options.job, "Job")
        return options


@dataclass(frozen=True)
class JobState:
    """A job as DescribeTransformJob has it; `status` is SageMaker's word, empty for no job."""

    status: str
    failure: str = ""
    arn: str = ""


class BatchJobHost:
    """ModelHost of one job; options: see `Options`. Constructor raises HostError."""

    def __init__(self, spec: HostSpec, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._options = Options.parse(spec.options)
        self._account, self._source, self._spec = open_source(
            spec, KIND, self._options.connect_timeout, self._options.control_timeout, clock
        )
        #: This object has put the job away: an ended job is down from then on, unless a start that
        #: was still on its way has left something after that.
        self._put_away = False
        #: A stop of this object has not come to its end: then the job is not down.
        self._stopping = False

    @property
    def kind(self) -> str:
        return KIND

    @property
    def spec(self) -> HostSpec:
        return self._spec

    def job(self) -> JobState:
        """The job now. Raises HostError."""
        found, _ = call_with_retries(self._job, LOOKING, clock=self._clock)
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
        elif self._put_away and job.status not in RUNNING:
            left = self._account.leftovers(self._options.job, of_job=True)
            status = ModelStatus.HOSTED if left else ModelStatus.TRAINED
        elif not job.status:
            status = ModelStatus.TRAINED
        else:  # also what has ended, and a word that is not known: its model is there
            status = ModelStatus.HOSTED
        return ModelState(
            status=status,
            message=job.failure or (job.status if job.status != "InProgress" else ""),
            model_arn=job.arn,
            project=self._spec.project,
            version=self._spec.model_version,
        )

    def start(self, units: Units, client_token: str) -> ModelState:
        if self._source.kind == "endpoint":
            raise HostRejected(
                "A batch job needs a model, not an endpoint: name a model, a model package or a "
                "training job.",
                operation="CreateTransformJob",
            )
        if self.job().status:
            return self.describe()  # this start was made before, and its answer lost
        options = self._options
        marks = {
            tags.CREATED_BY: tags.CREATOR,
            tags.ENDPOINT: options.job,
            tags.HOSTING: client_token[:256],
            tags.PROJECT: self._spec.project,
        }
        if options.run_id:
            marks[tags.RUN] = options.run_id
        labels = tag_list(marks)
        model = make_model(
            self._account,
            self._source,
            options.job,
            labels,
            role_arn=options.role_arn,
            network_isolation=options.network_isolation,
        )
        with suppress(HostConflict):  # a start of the same name was quicker: it is the same
            self._account.call("create_transform_job", **self._request(model, units), Tags=labels)
        self._put_away = self._stopping = False
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
            # Refused: it has ended since, or the next look shows that it goes on.
            with suppress(HostConflict, HostRejected, ModelNotFound):
                self._account.call("stop_transform_job", TransformJobName=self._options.job)
            status = self.job().status
        if status in RUNNING:
            # Its model is deleted once it has ended, so this stop has to come again.
            raise HostThrottled(
                f"Job {self._options.job} is {status}.",
                operation="StopTransformJob",
                retry_after=1.0,
            )
        self._account.delete_leftovers(self._options.job, of_job=True)
        self._put_away, self._stopping = True, False
        return self.describe()

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        timeout: float | None = None,
        stop_event: threading.Event | None = None,
        retry_throttled: bool = True,
    ) -> Detection:
        del body, content_type, timeout, stop_event, retry_throttled
        raise HostRejected("A batch job takes no single image.", operation="CreateTransformJob")

    def close(self) -> None:
        self._account.close()


def running_jobs(account: Account) -> list[tuple[str, Mapping[str, str], Any]]:
    """(name, tags, creation time) of the jobs of ours that are under way. Raises HostError."""
    found: list[tuple[str, Mapping[str, str], Any]] = []
    for status in sorted(RUNNING):
        for entry in account.pages(
            "list_transform_jobs", "TransformJobSummaries", StatusEquals=status
        ):
            marks = account.tags(str(entry["TransformJobArn"]))
            if marks.get(tags.CREATED_BY) == tags.CREATOR:
                name = str(entry["TransformJobName"])
                found.append((name, marks, utc(entry.get("CreationTime"))))
    return found
