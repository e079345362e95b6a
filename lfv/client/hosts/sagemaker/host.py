"""A model of the successor algorithm on a SageMaker endpoint.

An endpoint cannot be stopped, only deleted. So a start creates a model, an endpoint configuration
and an endpoint, and a stop deletes all three. Their names are derived from the hosted model, so a
start whose response was lost is recognised, and a second start of the same endpoint is refused.
Tags mark them as created by lfv; nothing without these tags is ever deleted.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from lfv.client.api.client import aws_client
from lfv.client.api.repeated import RepeatedCall, repeated_call
from lfv.client.errors import (
    HostConflict,
    HostError,
    HostRejected,
    HostThrottled,
    ModelNotFound,
)
from lfv.client.hosts.calls import FAILURES, client_config
from lfv.client.hosts.host_options import read_options
from lfv.client.hosts.protocol import Detection, HostSpec, ModelState, Units
from lfv.client.hosts.sagemaker.account import HOSTING, EndpointFacts, hosting_tags
from lfv.client.hosts.sagemaker.answers import parse_answer
from lfv.client.hosts.sagemaker.failures import is_of_model, runtime_failure
from lfv.client.hosts.sagemaker.resources import (
    ModelOptions,
    digest,
    make_model,
    make_resource,
)
from lfv.client.hosts.sagemaker.source import (
    SourceFacts,
    check_name,
    look_up,
    open_source,
)
from lfv.client.retry import READ_RETRIES, RetryPolicy, call_with_retries
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import ResponseInvalid
from lfv.formats.host_kinds import SAGEMAKER
from lfv.formats.images import ImageLimits
from lfv.formats.status import ModelStatus

#: InvokeEndpoint accepts up to 6 MiB.
IMAGE_LIMITS = ImageLimits(max_bytes=6 * 1024 * 1024)
#: The model has 60 seconds to answer.
_READ_TIMEOUT = 70.0
_LONGEST_ENDPOINT_NAME = 54  # names derived from it have nine more characters
_VARIANT = "AllTraffic"
#: Options of trainings.
TRAINING_OPTIONS = frozenset({"algorithm_arn", "model_type", "training_instance_type"})
#: Options of trainings and batch jobs; ignored here because they may be set for all commands.
_UNUSED = TRAINING_OPTIONS | {"concurrency"}

#: Statuses in which an endpoint answers; during an update its old instances do.
_ANSWERING = frozenset({ModelStatus.HOSTED, ModelStatus.SYSTEM_UPDATING})
_GONE = frozenset(
    {
        ModelStatus.TRAINED,
        ModelStatus.TRAINING,
        ModelStatus.TRAINING_FAILED,
        ModelStatus.HOSTING_FAILED,
        ModelStatus.DELETING,
    }
)


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options in `HostSpec.options` of a SageMaker host.

    `endpoint_name` defaults to a name derived from the project and the model.
    `runtime_endpoint_url` is the address for InvokeEndpoint, `endpoint_url` by default.
    """

    endpoint_name: str = ""
    runtime_endpoint_url: str | None = None
    max_connections: int = 32
    read_timeout: float = _READ_TIMEOUT

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Parse options. Raises HostRejected for an unknown name or an invalid value."""
        options = read_options(given, cls, host="A SageMaker host", unused=_UNUSED)
        if options.endpoint_name:
            check_name(options.endpoint_name, "Endpoint")
            if len(options.endpoint_name) > _LONGEST_ENDPOINT_NAME:
                raise HostRejected(
                    f"Endpoint {options.endpoint_name!r} is longer than the "
                    f"{_LONGEST_ENDPOINT_NAME} characters that leave room for its configuration."
                )
        return options


class SageMakerHost:
    """ModelHost over boto3's `sagemaker` and `sagemaker-runtime`; options: see `Options`.

    `spec.model_version` names the model (see `source`). The constructor raises HostError if the
    account cannot be used or the model version cannot be resolved.
    """

    def __init__(self, spec: HostSpec, *, retries: RetryPolicy | None = None) -> None:
        self._retries = retries or RetryPolicy()
        self._options = Options.parse(spec.options)
        self._account, self._source, self.spec = open_source(
            spec, SAGEMAKER, self._options.connect_timeout, self._options.control_timeout
        )
        self._name = endpoint_name_of(self.spec)
        self._runtime: Any = None
        self._calls: dict[str, RepeatedCall] = {}  # by content type
        self._lock = threading.Lock()
        #: A stop by this object is not finished; until then, the model is not reported down.
        self._stopping = False
        #: This object has stopped the model. A start that was still in progress may have created
        #: resources after that.
        self._deleted = False

    # -- status --

    def describe(self) -> ModelState:
        try:
            state, _ = call_with_retries(self._describe, READ_RETRIES)
        except ModelNotFound:
            if not self._stopping:
                raise
            state = self._state(ModelStatus.TRAINED)
        if self._stopping and state.status in _GONE:
            return replace(state, status=ModelStatus.STOPPING_HOSTING)
        return state

    def _describe(self) -> ModelState:
        endpoint = self._account.endpoint(self._name)
        if endpoint is None:
            facts = look_up(self._account, self._source)
            if self._deleted and (left := self._account.leftovers(self._name)):
                # At SYSTEM_UPDATING, a stop deletes the endpoint, and a start waits.
                return self._state(ModelStatus.SYSTEM_UPDATING, facts, f"{left[0][1]} is left over")
            return self._state(facts.status, facts, facts.message)
        try:
            facts = look_up(self._account, self._source)
        except ModelNotFound:  # deleted while its endpoint exists, which still costs money
            facts = SourceFacts(self._arn_like(endpoint.arn), None)
        return self._state(
            endpoint.model_status,
            facts,
            endpoint.failure or (endpoint.status if endpoint.status != "InService" else ""),
            endpoint.instances,
        )

    def _state(
        self,
        status: ModelStatus,
        facts: SourceFacts | None = None,
        message: str = "",
        instances: int | None = None,
    ) -> ModelState:
        return ModelState(
            status=status,
            message=message,
            model_arn=facts.arn if facts else "",
            project=self.spec.project,
            version=self.spec.model_version,
            created_at=facts.created_at if facts else None,
            min_inference_units=instances,
            training=facts.training if facts else "",
        )

    # -- start --

    def start(self, units: Units, client_token: str) -> ModelState:
        if units.maximum not in {None, units.minimum}:
            raise HostRejected(
                "A SageMaker endpoint has a fixed number of instances; leave out the maximum of "
                "inference units."
            )
        if self._source.kind == "endpoint":
            raise HostConflict(
                f"Endpoint {self._name} was not created by lfv, so lfv does not start it.",
                operation="CreateEndpoint",
            )
        endpoint = self._account.endpoint(self._name)
        if endpoint is not None:
            return self._start_again(endpoint, client_token)
        try:
            self._create(units, client_token)
        except ModelNotFound as error:
            if error.operation in {"CreateEndpointConfig", "CreateEndpoint"}:
                # A concurrent stop has deleted what this start has just created.
                raise HostThrottled(str(error), operation="CreateEndpoint") from error
            raise
        self._deleted = self._stopping = False
        return self._state(ModelStatus.STARTING_HOSTING)

    def _create(self, units: Units, client_token: str) -> None:
        options = self._options
        labels = hosting_tags(self._name, self.spec.project, client_token, self.spec.run_id)
        model = make_model(self._account, self._source, self._name, labels, options)
        variant = {
            "VariantName": _VARIANT,
            "ModelName": model,
            "InstanceType": options.instance_type,
            "InitialInstanceCount": units.minimum,
        }
        config = make_resource(
            self._account,
            "create_endpoint_config",
            "EndpointConfigName",
            self._name,
            {"ProductionVariants": [variant]},
            labels,
        )
        # Calls that only a stop needs, so that a missing permission shows before anything is paid.
        self._account.leftovers(self._name)
        self._account.call(
            "create_endpoint", EndpointName=self._name, EndpointConfigName=config, Tags=labels
        )

    def _start_again(self, endpoint: EndpointFacts, client_token: str) -> ModelState:
        """Handle a start when the endpoint exists: repeat the same start, or refuse."""
        status = endpoint.model_status
        if status is not ModelStatus.HOSTING_FAILED:
            if self._account.tags(endpoint.arn).get(HOSTING) == client_token:
                return self._state(status)
            raise HostConflict(
                f"Endpoint {self._name} is {endpoint.status}.", operation="CreateEndpoint"
            )
        self._refuse_others(endpoint, "CreateEndpoint")
        self._account.call("delete_endpoint", EndpointName=self._name)
        raise HostThrottled(
            f"Endpoint {self._name} had failed; it is deleted and then created again.",
            operation="CreateEndpoint",
        )

    # -- stop --

    def stop(self, client_token: str) -> ModelState:  # noqa: ARG002 - DeleteEndpoint takes none
        self._stopping = True
        endpoint = self._account.endpoint(self._name)
        if endpoint is not None:
            self._refuse_others(endpoint, "DeleteEndpoint")
            if endpoint.model_status is not ModelStatus.STOPPING_HOSTING:
                try:
                    self._account.call("delete_endpoint", EndpointName=self._name)
                except ModelNotFound:
                    endpoint = None  # another caller was faster
        self._account.delete_leftovers(self._name)
        self._deleted, self._stopping = True, False
        if endpoint is None:
            raise HostConflict(f"Endpoint {self._name} is gone.", operation="DeleteEndpoint")
        return self._state(ModelStatus.STOPPING_HOSTING)

    def _refuse_others(self, endpoint: EndpointFacts, operation: str) -> None:
        if not self._account.is_ours(endpoint.arn):
            self._stopping = False
            raise HostRejected(
                f"Endpoint {self._name} was not created by lfv, so lfv does not delete it; delete "
                "it in SageMaker if it is no longer needed.",
                operation=operation,
            )

    # -- detection --

    def detect(
        self,
        body: bytes,
        content_type: str,
        *,
        stop_event: threading.Event | None = None,
    ) -> Detection:
        if len(body) > IMAGE_LIMITS.max_bytes:
            raise HostRejected(
                f"The image has {len(body):,} bytes; a SageMaker endpoint accepts at most "
                f"{IMAGE_LIMITS.max_bytes:,}.",
                operation="InvokeEndpoint",
            )
        invoke = self._invocation(content_type)
        try:
            (found, inference_id, latency_ms), attempts = call_with_retries(
                lambda: self._invoke(invoke, body),
                self._retries,
                final=HostThrottled,
                stop_event=stop_event,
            )
        except HostRejected as error:
            self._blame_endpoint(error)
            raise
        if isinstance(found, ResponseInvalid):
            found.attempts = attempts
            raise found
        return Detection(found, inference_id, latency_ms, attempts)

    def _blame_endpoint(self, error: HostRejected) -> None:
        """Raise HostConflict if an image was refused because the endpoint is not in service.

        Checks the endpoint's status, because the error for that case is not documented.
        """
        if is_of_model(error):
            return
        try:
            endpoint = self._account.endpoint(self._name)
        except HostError:
            return
        status = endpoint.status if endpoint else "gone"
        if endpoint is None or endpoint.model_status not in _ANSWERING:
            raise HostConflict(
                f"Endpoint {self._name} is {status}: {error}", operation="InvokeEndpoint"
            ) from error

    def _invoke(
        self, invoke: RepeatedCall, body: bytes
    ) -> tuple[DetectAnomalyResult | ResponseInvalid, str, float]:
        began = time.monotonic()
        inference_id = str(uuid.uuid4())
        try:
            answer = invoke(body, inference_id)
            # `with` on the StreamingBody itself would yield urllib3's stream, with its errors.
            with closing(answer["Body"]) as stream:
                content = stream.read()
        except FAILURES as error:
            raise runtime_failure(error, self._account.where) from error
        latency_ms = (time.monotonic() - began) * 1000.0
        try:
            return parse_answer(content), inference_id, latency_ms
        except ResponseInvalid as error:
            return error, inference_id, latency_ms

    def _invocation(self, content_type: str) -> RepeatedCall:
        """Return the call of InvokeEndpoint for images of a type."""
        if (call := self._calls.get(content_type)) is not None:
            return call
        with self._lock:
            if self._runtime is None:
                options = self._options
                config = client_config(
                    max_connections=options.max_connections,
                    connect_timeout=options.connect_timeout,
                    read_timeout=options.read_timeout,
                )
                url = options.runtime_endpoint_url or self.spec.endpoint_url
                try:
                    self._runtime = aws_client(
                        "sagemaker-runtime", url, self.spec.region, config=config
                    )
                except FAILURES as error:
                    raise runtime_failure(error, self._account.where) from error
            call = self._calls[content_type] = repeated_call(
                self._runtime,
                "invoke_endpoint",
                varying="InferenceId",
                EndpointName=self._name,
                ContentType=content_type,
                Accept="application/json",
            )
            return call

    def close(self) -> None:
        with self._lock:
            self._account.close()
            if self._runtime is not None:
                self._runtime.close()

    def _arn_like(self, endpoint_arn: str) -> str:
        head, _, _ = endpoint_arn.rpartition(":")
        return f"{head}:{self._source}"


def endpoint_name_of(spec: HostSpec) -> str:
    """Return the endpoint name for the spec of a host, whose model version is resolved."""
    kind, _, name = spec.model_version.partition("/")
    if kind == "endpoint":
        return name
    if spec.options.get("endpoint_name"):
        return str(spec.options["endpoint_name"])
    project = spec.project[: _LONGEST_ENDPOINT_NAME - 13].rstrip("-")
    return f"lfv-{project}-{digest(spec.model_version)}"
