"""Repeats a call with other bodies at half of boto3's CPU time.

For each call, boto3 resolves the endpoint, builds the headers and emits a dozen events, always with
the same result. Here, boto3 builds the request once, and botocore signs it once a second. Each call
completes the signature for its body, sends the request and parses the response, with botocore's
signer, connections and parser.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.parsers import create_parser

#: Placeholder for the argument that varies.
_PLACEHOLDER = "bb0f5c3c-6c0e-4a52-9d2c-5c4ae0b1a7d3"
_NO_BODY = hashlib.sha256(b"").hexdigest()


class RepeatedCall(Protocol):
    """Calls a method with fixed arguments and those that vary."""

    def __call__(self, body: bytes, varying: str = "") -> dict[str, Any]:
        """Send `body`, with `varying` as the argument that varies."""


def repeated_call(
    client: Any, method: str, *, varying: str | None = None, **arguments: Any
) -> RepeatedCall:
    """Return a function that calls a client's method with these arguments and the given `Body`.

    One more argument may vary; it must be sent in a header. The function returns and raises what
    the method does, except that it makes a single attempt, emits no events and does not validate
    the arguments. If this release of botocore keeps its connections elsewhere, or the client does
    not sign with Signature Version 4, the method itself is called.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if session is None or client.meta.config.signature_version != "v4":
        call = getattr(client, method)
        return lambda body, value="": call(
            Body=body, **arguments, **({varying: value} if varying else {})
        )
    if varying:
        arguments[varying] = _PLACEHOLDER
    return _RepeatedCall(client, method, arguments, session)


@dataclass(frozen=True)
class _Signing:
    """What the requests of one second share: all signed parts but the body's digest.

    `varies` is the header whose value varies; `canonical` has the placeholder in its place.
    """

    second: int
    auth: SigV4Auth
    request: AWSRequest
    headers: dict[str, str]
    canonical: str
    authorization: str
    varies: str | None

    def sign(self, body: bytes, varying: str) -> dict[str, str]:
        """Return the headers of the request with this body."""
        canonical, headers = self.canonical, self.headers
        if self.varies is not None:
            canonical = canonical.replace(_PLACEHOLDER, varying)
            headers = {**headers, self.varies: varying}
        text = self.auth.string_to_sign(self.request, canonical + hashlib.sha256(body).hexdigest())
        return {
            **headers,
            "Authorization": self.authorization + self.auth.signature(text, self.request),
            "Content-Length": str(len(body)),
        }


class _RepeatedCall:
    def __init__(self, client: Any, method: str, arguments: dict[str, Any], session: Any) -> None:
        self._client = client  # the signer does not keep it alive
        self._session = session
        self._service = client.meta.service_model
        self._operation = client.meta.method_to_api_mapping[method]
        self._model = self._service.operation_model(self._operation)
        self._parser = create_parser(self._service.resolved_protocol)
        self._built, self._signer = _build(client, method, arguments)
        self._signing: _Signing | None = None

    def __call__(self, body: bytes, varying: str = "") -> dict[str, Any]:
        signing = self._sign()
        response = self._session.send(
            AWSPreparedRequest(
                signing.request.method,
                signing.request.url,
                signing.sign(body, varying),
                body,
                stream_output=False,
                context=self._built["context"],
            )
        )
        received = {
            "headers": response.headers,
            "status_code": response.status_code,
            "body": response.content,
        }
        if self._model.has_streaming_output and response.status_code < 300:
            received["body"] = io.BytesIO(response.content)  # callers expect a stream
        parsed: dict[str, Any] = self._parser.parse(received, self._model.output_shape)
        if response.status_code >= 300:
            self._fail(received, parsed)
        return parsed

    def _sign(self) -> _Signing:
        """Return what the requests of this second share, with the current credentials."""
        signing, second = self._signing, int(time.time())
        if signing is not None and signing.second == second:
            return signing
        signer, built = self._signer, self._built
        auth = signer.get_auth_instance(signer.signing_name, signer.region_name)
        request = AWSRequest(built["method"], built["url"], built["headers"], b"")
        auth.add_auth(request)
        authorization = request.headers["Authorization"]
        del request.headers["Authorization"]
        headers = dict(request.headers.items())
        signing = self._signing = _Signing(
            second,
            auth,
            request,
            headers,
            auth.canonical_request(request).removesuffix(_NO_BODY),
            authorization[: -len(_NO_BODY)],  # a signature is a digest, too
            next((name for name, value in headers.items() if value == _PLACEHOLDER), None),
        )
        return signing

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
