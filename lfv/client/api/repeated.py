"""Calls of one operation that differ in their body only, at less than half of boto3's CPU time.

For each call, boto3 resolves the endpoint, builds the headers and emits a dozen events, always with
the same result. Here, boto3 builds the request once. Each call copies it, signs and sends the copy,
and parses the response, with botocore's signer, connections and parser.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.parsers import create_parser


def repeated_call(client: Any, method: str, **arguments: Any) -> Callable[[bytes], dict[str, Any]]:
    """Return a function that calls a client's method with these arguments and the given `Body`.

    It returns and raises what the method does, except that it makes a single attempt, emits no
    events and does not validate the arguments. If this release of botocore has its connections
    elsewhere, it is the method itself.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if session is None:
        call = getattr(client, method)
        return lambda body: call(Body=body, **arguments)
    return _RepeatedCall(client, method, arguments, session)


class _RepeatedCall:
    def __init__(self, client: Any, method: str, arguments: dict[str, Any], session: Any) -> None:
        self._client = client  # the signer does not keep it alive
        self._session = session
        self._service = client.meta.service_model
        self._operation = client.meta.method_to_api_mapping[method]
        self._model = self._service.operation_model(self._operation)
        self._parser = create_parser(self._service.resolved_protocol)
        self._built, self._signer = _build(client, method, arguments)

    def __call__(self, body: bytes) -> dict[str, Any]:
        built = self._built
        request = AWSRequest(built["method"], built["url"], built["headers"], body)
        request.context.update(built["context"])
        self._signer.sign(self._operation, request)
        headers = dict(request.headers.items())
        headers["Content-Length"] = str(len(body))
        response = self._session.send(
            AWSPreparedRequest(request.method, request.url, headers, body, False, request.context)
        )
        received = {
            "headers": response.headers,
            "status_code": response.status_code,
            "body": response.content,
        }
        parsed: dict[str, Any] = self._parser.parse(received, self._model.output_shape)
        if response.status_code >= 300:
            self._fail(received, parsed)
        return parsed

    def _fail(self, received: dict[str, Any], parsed: dict[str, Any]) -> None:
        """Raise the exception of an error response, with the members that its shape has."""
        code = parsed.get("Error", {}).get("Code")
        shape = None if code is None else self._service.shape_for_error_code(code)
        if shape is not None:
            parsed.update(self._parser.parse(received, shape))
        raise self._client.exceptions.from_code(code)(parsed, self._operation)


def _build(client: Any, method: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Let the client build the request without sending it; return it with its signer."""
    found: list[tuple[dict[str, Any], Any]] = []
    here = threading.get_ident()

    def catch(params: dict[str, Any], request_signer: Any, **_: Any) -> Any:
        if threading.get_ident() != here:
            return None
        found.append((params, request_signer))
        return AWSResponse(params["url"], 200, {}, None), {}

    events = client.meta.events
    events.register("before-call.*.*", catch)
    try:
        getattr(client, method)(Body=b"", **arguments)
    finally:
        events.unregister("before-call.*.*", catch)
    return found[0]
