"""The ASGI application: decodes requests, runs their operations and encodes the responses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from botocore.model import OperationModel

from lfv.client.api.service_model import service_model
from lfv.server.background import BackgroundWork
from lfv.server.database import Database
from lfv.server.detection import Detector
from lfv.server.errors import (
    ApiError,
    InternalError,
    InvalidImageError,
    ResourceType,
    ValidationError,
)
from lfv.server.hosting.pool import Pool
from lfv.server.metrics import Metrics
from lfv.server.operations import HANDLERS, Call
from lfv.server.options import ServeOptions
from lfv.server.protocol.decode import RawRequest, decode_request
from lfv.server.protocol.encode import Answer, encode_error, encode_result
from lfv.server.protocol.routes import Match, Router
from lfv.server.protocol.validate import validate
from lfv.server.request_body import (
    Body,
    Bounds,
    Budget,
    ClientGoneError,
    Share,
    declared_length,
    discard_body,
    is_framed_twice,
    read_body,
    unless_disconnected,
)
from lfv.server.request_origin import check_local, headers_of, is_private, path_before_proxy
from lfv.server.sigv4 import Authorization, SignedRequest, Verifier, read_authorization
from lfv.server.state import tokens
from lfv.server.state.tokens import PageTokens

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_DETECT = "DetectAnomalies"
_UPDATE = "UpdateDatasetEntries"
_NO_MODEL = ("", "")
#: Requests other than images share one part in this many of ``bytes_in_hand``.
_KEPT_FOR_OTHERS = 8


@dataclass
class _Request:
    """A request, and what is known about it so far."""

    scope: Scope
    headers: dict[str, str]
    query: list[tuple[str, str]]
    #: Project and version under which its metrics are counted.
    model: tuple[str, str] = _NO_MODEL


class Api:
    def __init__(
        self,
        options: ServeOptions,
        database: Database,
        work: BackgroundWork,
        detector: Detector,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._database = database
        self._work = work
        self._detector = detector
        self._metrics = metrics
        self._model = service_model()
        self._router = Router(self._model)
        self._verifier = Verifier(options.credentials) if options.credentials else None
        kept = options.transport.bytes_in_hand // _KEPT_FOR_OTHERS
        self._images = Budget(options.transport.bytes_in_hand - kept)
        self._others = Budget(kept)
        # SQLite runs one transaction at a time; a few threads keep it busy.
        self._threads = ThreadPoolExecutor(4, "operations")
        with database.transaction() as tx:
            self._pages = PageTokens(tx)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, headers_of(scope), [])
        error: ApiError | None = None
        try:
            answer = await self._answer(request, receive)
        except ClientGoneError:
            return
        except ApiError as caught:
            error = caught
        except Exception:  # noqa: BLE001 (logged, and answered as the API defines)
            _log.exception("%s %s", scope["method"], scope["path"])
            error = InternalError("the service failed on this request; its log has the reason")
        if error is not None:
            answer = encode_error(self._model, error)
        self._metrics.count_request(request.model, error)
        await _send(send, answer, last=is_framed_twice(request.headers))

    async def _answer(self, request: _Request, receive: Receive) -> Answer:
        scope = request.scope
        match = _attempt(lambda: self._router.match(scope["method"], scope["raw_path"]))
        bounds = self._bounds(match)
        length = _attempt(lambda: declared_length(request.headers))
        authorization = read_authorization(request.headers.get("authorization"))
        early = length if isinstance(length, ApiError) else None
        early = early or self._refusal(request, authorization)
        early = early or (match if isinstance(match, ApiError) else None)
        timeout = self._options.transport.body_timeout
        if early is not None:
            # Answered after the body has arrived: many clients do not read before that.
            await discard_body(receive, bounds.limit, timeout_seconds=timeout)
            raise early
        assert isinstance(match, Match)  # noqa: S101 (else it was refused just above)
        with closing(Share(bounds.budget)) as share:
            try:
                body = await read_body(
                    receive,
                    bounds,
                    share,
                    timeout_seconds=timeout,
                    digest=self._verifier is not None,
                )
            except InvalidImageError:
                await self._name_model(request, match)
                raise
            if self._verifier is not None and authorization is not None:
                self._verifier.check(_signed_request(request), authorization, body.sha256 or "")
            performed = self._perform(request, match, body, authorization)
            if match.operation.name == _DETECT:
                return await unless_disconnected(receive, performed)
            return await performed

    def _refusal(self, request: _Request, authorization: Authorization | None) -> ApiError | None:
        """Return a reason to refuse the request before its body is read, or None."""
        try:
            if self._verifier is not None:
                now = datetime.now(UTC)
                self._verifier.check_before_body(_signed_request(request), authorization, now)
            else:
                check_local(request.headers)
            text = request.scope["query_string"].decode("latin-1")
            request.query = _query(text)
        except ApiError as error:
            return error
        return None

    def _bounds(self, match: Match | ApiError) -> Bounds:
        name = "" if isinstance(match, ApiError) else match.operation.name
        if name == _DETECT:
            limit = self._options.limits.image_bytes
            return Bounds(limit, "the image", InvalidImageError, self._images)
        transport = self._options.transport
        limit = transport.changes_body_bytes if name == _UPDATE else transport.body_bytes
        return Bounds(limit, "the request", ValidationError, self._others)

    async def _perform(
        self, request: _Request, match: Match, body: Body, authorization: Authorization | None
    ) -> Answer:
        operation = match.operation
        raw = RawRequest(match.uri_parameters, request.query, request.headers, body.data)
        members = decode_request(operation, raw)
        if operation.name == _DETECT:
            result = await self._detect(request, operation, members)
        else:
            validate(operation, members)
            region = authorization.region if authorization else self._options.default_region
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(
                self._threads, self._execute, operation.name, members, region
            )
        return encode_result(operation, result)

    async def _detect(
        self, request: _Request, operation: OperationModel, members: dict[str, Any]
    ) -> dict[str, Any]:
        pool = await self._pool(request, operation, members)
        if not members["Body"]:
            raise InvalidImageError("the image is empty")
        started = time.perf_counter()
        result = await self._detector.detect(
            pool,
            members["Body"],
            members["ContentType"],
            with_map=members.get("AnomalyMap", False),
        )
        self._metrics.count_image(
            request.model,
            is_anomalous=result["IsAnomalous"],
            milliseconds=1000 * (time.perf_counter() - started),
        )
        return {"DetectAnomalyResult": result}

    async def _name_model(self, request: _Request, match: Match) -> None:
        """Find the model of a request with a discarded image, so that it counts in its metrics."""
        raw = RawRequest(match.uri_parameters, request.query, request.headers, b"")
        with suppress(ApiError):
            await self._pool(request, match.operation, decode_request(match.operation, raw))

    async def _pool(
        self, request: _Request, operation: OperationModel, members: dict[str, Any]
    ) -> Pool:
        """Return the model's inference units, and count the request for this model from now on."""
        validate(operation, members)
        pool = await self._detector.pool(members["ProjectName"], members["ModelVersion"])
        request.model = (pool.model.project_name, str(pool.model.version))
        return pool

    def _execute(self, name: str, members: dict[str, Any], region: str) -> dict[str, Any]:
        token = members.pop("ClientToken", None)
        now = time.time()
        with self._database.transaction() as tx:
            if token is not None:
                digest = tokens.fingerprint(members)
                resource = _resource(members)
                earlier = tokens.earlier_answer(tx, name, token, digest, resource, now)
                if earlier is not None:
                    return earlier
            options = self._options
            call = Call(
                tx, self._work, options.limits, self._pages, region, options.account_id, now
            )
            result = HANDLERS[name](call, members)
            if token is not None:
                tokens.remember(tx, name, token, digest, result, now)
            return result

    def close(self) -> None:
        self._threads.shutdown()


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ApiError as error:
        return error


def _resource(members: dict[str, Any]) -> tuple[str, ResourceType]:
    """Return the resource that a call's members name, for error responses."""
    project = members.get("ProjectName", "")
    if "JobName" in members or "Configuration" in members:
        return members.get("JobName", project), "MODEL_PACKAGE_JOB"
    if "ModelVersion" in members:
        return f"{project}/{members['ModelVersion']}", "MODEL"
    if "DatasetType" in members:
        return f"{project}/{members['DatasetType']}", "DATASET"
    return project, "PROJECT"


def _query(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=300)
    except (UnicodeDecodeError, ValueError):
        raise ValidationError("the query string cannot be read") from None


def _signed_request(request: _Request) -> SignedRequest:
    scope = request.scope
    return SignedRequest(
        scope["method"],
        path_before_proxy(scope["raw_path"], request.headers),
        request.query,
        request.headers,
        is_private(scope, request.headers),
    )


async def _send(send: Send, answer: Answer, *, last: bool) -> None:
    """Send the answer. ``last`` closes the connection, as the next bytes may not be a request."""
    headers = [(key.encode(), value.encode("latin-1")) for key, value in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    headers.append((b"x-amzn-requestid", str(uuid4()).encode()))
    if last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
