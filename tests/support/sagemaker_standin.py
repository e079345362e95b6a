"""A scripted stand-in for SageMaker: moto's control plane, and scripted answers of endpoints.

Scripted and recorded like `standin`: CreateEndpoint counts as StartModel, DeleteEndpoint as
StopModel, DescribeEndpoint as DescribeModel and InvokeEndpoint as DetectAnomalies; other calls are
recorded by their own names. moto stores the resources. Added here is what it lacks: the time that
an endpoint takes to be created and deleted, duplicate names, and endpoints that cannot be deleted
while they are created.

In addition to the members of `standin`, a script may have

    word         EndpointStatus to show while the endpoint is not being deleted; null: the true one
    answer       what InvokeEndpoint returns for whole images
    job_status   TrainingJobStatus to show
    forget_job   true: the training job is gone
    buckets      {name: folder}: where batch jobs find their images and put their answers
    s3_url       address of an S3 for the same
    job_images   SHA-256 of images that a batch job fails at
    job_failure  FailureReason of a batch job that failed at an image; "at once": fail before any

It knows one trained model: training job ``parts-20260101000000``, and model ``parts-model``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends
from moto.server import create_backend_app
from werkzeug.test import Client

from lfv.client.api.client import aws_client
from tests.support import standin
from tests.support.standin import Refused, is_image, result_of

JOB = "parts-20260101000000"
MODEL = "parts-model"
ROLE = "arn:aws:iam::123456789012:role/lfv-model"
REGION = "us-east-1"
INVOKE = re.compile(r"/endpoints/([^/]+)/invocations$")
OPERATIONS = {
    "CreateEndpoint": "StartModel",
    "DeleteEndpoint": "StopModel",
    "DescribeEndpoint": "DescribeModel",
}
#: EndpointStatus of a model's status.
WORDS = {
    "STARTING_HOSTING": "Creating",
    "HOSTED": "InService",
    "STOPPING_HOSTING": "Deleting",
    "HOSTING_FAILED": "Failed",
    "SYSTEM_UPDATING": "Updating",
}
#: (status, error, message) of the errors in scripts: of the control plane, and of an endpoint.
CONTROL = {
    "ThrottlingException": (400, "ThrottlingException", "Rate exceeded"),
    "InternalServerException": (500, "InternalFailure", "internal"),
    "AccessDeniedException": (400, "AccessDeniedException", "not authorized to perform this"),
    "ServiceQuotaExceededException": (400, "ResourceLimitExceeded", "limit 0 for ml.c5.2xlarge"),
    "ConflictException": (400, "ValidationException", "Cannot update in-progress endpoint"),
    "ValidationException": (400, "ValidationException", "1 validation error detected"),
    "ResourceNotFoundException": (400, "ValidationException", "Could not find endpoint"),
}
RUNTIME = {
    "ThrottlingException": (429, "ModelNotReadyException", "the model is not ready"),
    "InternalServerException": (530, "InternalDependencyException", "internal"),
    "AccessDeniedException": (403, "AccessDeniedException", "not authorized to perform this"),
    "ConflictException": (400, "ValidationError", "Endpoint of account 123456789012 not found."),
    "ResourceNotFoundException": (400, "ValidationError", "Endpoint not found."),
    "ValidationException": (424, "ModelError", "Received client error (400) from model"),
    "NotInService": (400, "ValidationError", "Endpoint is not in service."),
}


def endpoint_name(source: str = f"training-job/{JOB}", project: str = "parts") -> str:
    """The name that a host gives to the endpoint of a model."""
    return f"lfv-{project}-{hashlib.sha256(json.dumps(source).encode()).hexdigest()[:8]}"


class SageMaker(standin.Model):
    """One account; the tested endpoint follows the script."""

    def __init__(self) -> None:
        super().__init__()
        sagemaker_backends.reset()
        self.moto = Client(create_backend_app("sagemaker"))
        self.name = endpoint_name()
        self.jobs: dict[str, BatchJob] = {}
        self.control(
            "CreateTrainingJob",
            {
                "TrainingJobName": JOB,
                "AlgorithmSpecification": {
                    "AlgorithmName": "arn:aws:sagemaker:us-east-1:865070037744:algorithm/lfv",
                    "TrainingInputMode": "Pipe",
                },
                "RoleArn": ROLE,
                "OutputDataConfig": {"S3OutputPath": "s3://lfv/out"},
                "ResourceConfig": {
                    "InstanceType": "ml.g4dn.2xlarge",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 20,
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
            },
        )
        self.control(
            "CreateModel",
            {
                "ModelName": MODEL,
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": {"Image": "an-image"},
            },
        )

    def control(self, target: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Moto's response."""
        with self.lock:
            answer = self.moto.post(
                "/",
                headers={
                    "X-Amz-Target": f"SageMaker.{target}",
                    "Content-Type": "application/x-amz-json-1.1",
                    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/"
                    f"{REGION}/sagemaker/aws4_request",
                },
                data=json.dumps(body),
            )
        return answer.status_code, json.loads(answer.get_data() or b"{}")

    @property
    def backend(self) -> Any:
        return sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION]

    def left(self) -> list[str]:
        """All endpoints, configurations, running jobs, and models other than the first."""
        self.settle()
        found = [*self.backend.endpoints, *self.backend.endpoint_configs, *self.backend._models]
        found += [
            job.name for job in self.jobs.values() if job.status in {"InProgress", "Stopping"}
        ]
        return sorted(name for name in found if name != MODEL)

    def host_by_other(self) -> None:
        """Somebody else has an endpoint of that name."""
        with self.lock:
            name = f"{self.name}-other"
            variant = {"VariantName": "v", "ModelName": MODEL, "InstanceType": "ml.c5.xlarge"}
            config = {"EndpointConfigName": name, "ProductionVariants": [variant]}
            self.control("CreateEndpointConfig", config)
            endpoint = {"EndpointName": self.name, "EndpointConfigName": name}
            self.control("CreateEndpoint", endpoint)
        super().host_by_other()

    def _become(self, status: str, at: float) -> None:
        if status == "TRAINED":
            self.backend.endpoints.pop(self.name, None)
        super()._become(status, at)


class Handler(standin.Handler):
    """One connection."""

    model: SageMaker

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        if self.path == "/left":
            return self._answer(200, {"left": self.model.left()})
        return super().do_GET()

    def _operation(self, body: bytes) -> None:
        if match := INVOKE.search(self.path):
            facts: dict[str, Any] = {"target": "InvokeEndpoint"}
            facts["sha256"] = hashlib.sha256(body).hexdigest()
            facts["inference_id"] = self.headers.get("X-Amzn-SageMaker-Inference-Id", "")
            return self._perform("DetectAnomalies", lambda: self._invoke(match[1], body), facts)
        target = (self.headers.get("X-Amz-Target") or "").partition(".")[2]
        request = json.loads(body or b"{}")
        act = self._act(target, request)
        facts = {"request": request, "target": target}
        return self._perform(OPERATIONS.get(target, target), act, facts)

    def _act(self, target: str, request: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        own: Callable[[str, dict[str, Any]], dict[str, Any]] = getattr(
            self, f"_on_{target}", self._by_moto
        )
        # A late call works with the state at its arrival.
        config = self.model.backend.endpoint_configs.get(request.get("EndpointConfigName"))

        def act() -> dict[str, Any]:
            if target != "CreateEndpoint" or config is None:
                return own(target, request)
            configs, name = self.model.backend.endpoint_configs, config.endpoint_config_name
            missing = name not in configs
            configs[name] = config
            try:
                return own(target, request)
            finally:
                if missing:
                    configs.pop(name)

        return act

    def _by_moto(self, target: str, request: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.model.control(target, request)
        if status >= 400:
            raise Answered(status, answer)
        return answer

    def _on_DescribeEndpoint(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        status = self.model.settle()
        answer = self._by_moto(target, request)
        if request["EndpointName"] == self.model.name:
            word = None if status == "STOPPING_HOSTING" else self.model.script.get("word")
            answer["EndpointStatus"] = word or WORDS[status]
        return answer

    def _on_DescribeTrainingJob(  # noqa: N802
        self, target: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        if self.model.script.get("forget_job"):
            raise Refused("ResourceNotFoundException")
        answer = self._by_moto(target, request)
        return answer | {
            "TrainingJobStatus": self.model.script.get("job_status", answer["TrainingJobStatus"])
        }

    def _on_CreateEndpoint(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        with self.model.lock:
            self.model.settle()
            name = request["EndpointName"]
            if name in self.model.backend.endpoints:
                raise Answered(400, taken("endpoint", name))
            answer = self._by_moto(target, request)
            if name == self.model.name:
                self.model.change("STARTING_HOSTING", self.model.script.get("start_seconds", 0.0))
            return answer

    def _on_DeleteEndpoint(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        with self.model.lock:
            status = self.model.settle()
            name = request["EndpointName"]
            if name != self.model.name or name not in self.model.backend.endpoints:
                return self._by_moto(target, request)
            if status == "STARTING_HOSTING" and not self.model.script.get("word"):
                raise Refused("ConflictException")
            self.model.change("STOPPING_HOSTING", self.model.script.get("stop_seconds", 0.0))
            return {}

    def _on_CreateTransformJob(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = request["TransformJobName"]
        with self.model.lock:
            if name in self.model.jobs:
                raise Answered(400, {"__type": "ResourceInUse", "message": "Job already exists"})
            if request["ModelName"] not in self.model.backend._models:
                raise Refused("ResourceNotFoundException")
            answer = self._by_moto(target, request)
            self.model.jobs[name] = BatchJob(self.model, name, request)
        return answer

    def _on_DescribeTransformJob(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self.model.jobs.get(request["TransformJobName"])
        if job is None:
            message = "Could not find requested job with name"
            raise Answered(400, {"__type": "ValidationException", "message": message})
        return self._by_moto(target, request) | job.facts()

    def _on_ListTransformJobs(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        wanted = request.pop("StatusEquals", None)
        answer = self._by_moto(target, request)
        entries = [
            entry | self.model.jobs[entry["TransformJobName"]].facts()
            for entry in answer["TransformJobSummaries"]
        ]
        kept = [one for one in entries if wanted in {None, one["TransformJobStatus"]}]
        return {"TransformJobSummaries": kept}

    def _on_StopTransformJob(  # noqa: N802
        self,
        target: str,  # noqa: ARG002 - as all of them
        request: dict[str, Any],
    ) -> dict[str, Any]:
        job = self.model.jobs.get(request["TransformJobName"])
        if job is None or not job.stop():
            raise Refused("ValidationException")
        return {}

    def _on_CreateEndpointConfig(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if request["EndpointConfigName"] in self.model.backend.endpoint_configs:
            raise Answered(400, taken("endpoint configuration", request["EndpointConfigName"]))
        return self._by_moto(target, request)

    def _on_CreateModel(self, target: str, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if request["ModelName"] in self.model.backend._models:
            raise Answered(400, taken("model", request["ModelName"]))
        return self._by_moto(target, request)

    def _invoke(self, name: str, body: bytes) -> dict[str, Any]:
        if self.model.settle() == "HOSTING_FAILED":
            raise Refused("NotInService")
        if self.model.settle() not in {"HOSTED", "SYSTEM_UPDATING"} or name != self.model.name:
            raise Refused("ConflictException")
        if not is_image(body):
            raise Refused("ValidationException")
        time.sleep(self.model.next_detect_seconds())
        changed: dict[str, Any] = self.model.script.get("answer") or result_of(body)
        return changed

    def _refuse_for(self, refused: Refused, operation: str) -> None:
        if isinstance(refused, Answered):
            self._answer(refused.status, refused.body)
        else:
            super()._refuse_for(refused, operation)

    def _refuse(self, name: str, operation: str) -> None:
        table = RUNTIME if operation == "DetectAnomalies" else CONTROL
        status, code, message = table[name]
        body = {"__type": code, "message": message, "Message": message}
        if code == "ModelError":
            body |= {"OriginalStatusCode": 400, "OriginalMessage": "not an image"}
        self._answer(status, body, code)


class BatchJob:
    """A transform job: answers for the images of its manifest, one after the other."""

    def __init__(self, model: SageMaker, name: str, request: dict[str, Any]) -> None:
        self.name = name
        self.status = "InProgress"
        self.failure = ""
        self._model = model
        self._request = request
        self._stop = threading.Event()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def facts(self) -> dict[str, Any]:
        facts = {"TransformJobStatus": self.status}
        return facts | ({"FailureReason": self.failure} if self.failure else {})

    def stop(self) -> bool:
        if self.status != "InProgress":
            return False
        self.status = "Stopping"
        self._stop.set()
        return True

    def _work(self) -> None:
        script = self._model.script
        if script.get("job_failure") == "at once":
            self.status, self.failure = "Failed", "InternalServerError: no capacity"
            return
        source = self._request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        first, *names = json.loads(self._read(source))
        output = self._request["TransformOutput"]["S3OutputPath"]
        for name in names:
            if self._stop.wait(self._model.next_detect_seconds()):
                break
            body = self._read(first["prefix"] + name)
            digest = hashlib.sha256(body).hexdigest()
            if digest in script.get("job_images", ()):
                self.failure = script.get("job_failure", "ClientError: see the job's logs")
                continue
            answer = json.dumps(script.get("answer") or result_of(body))
            self._write(f"{output}{name}.out", answer.encode())
            self._model.record("DetectAnomalies", "ok", target="TransformJob", sha256=digest)
        if self._stop.is_set():
            time.sleep(script.get("stop_seconds", 0.0))
            self.status = "Stopped"
        else:
            self.status = "Failed" if self.failure else "Completed"

    def _read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if folder := self._folder(bucket):
            return (folder / key).read_bytes()
        content: bytes = self._s3().get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def _write(self, uri: str, content: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        folder = self._folder(bucket)
        if folder is None:
            self._s3().put_object(Bucket=bucket, Key=key, Body=content)
            return
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        unfinished = (folder / key).with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.rename(folder / key)

    def _folder(self, bucket: str) -> Path | None:
        folder = self._model.script.get("buckets", {}).get(bucket)
        return None if folder is None else Path(folder)

    def _s3(self) -> Any:
        return aws_client("s3", self._model.script["s3_url"])


class Answered(Refused):
    """An error from moto, unchanged."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("__type")))
        self.status = status
        self.body = body


def taken(what: str, name: str) -> dict[str, Any]:
    """The error for a duplicate name."""
    message = f'Cannot create already existing {what} "arn:aws:sagemaker:::{name}".'
    return {"__type": "ValidationException", "message": message}


def serve() -> standin.Server:
    """A server of a fresh account; the caller runs it."""
    handler = type("BoundHandler", (Handler,), {"model": SageMaker()})
    return standin.Server(("127.0.0.1", 0), handler)
