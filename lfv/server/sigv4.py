"""Verifies AWS Signature Version 4.

The algorithm is described in the IAM User Guide under "Create a signed AWS API request". Without
configured keys, only the region of a signature is used. With keys, every request needs a valid
signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.auth import UNSIGNED_PAYLOAD, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from lfv.server.errors import AccessDeniedError

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "lookoutvision"
MAX_SKEW_SECONDS = 300

_HEADER = re.compile(
    rf"{ALGORITHM} +Credential=(?P<credential>[^,\s]+),? *SignedHeaders=(?P<headers>[^,\s]+),?"
    r" *Signature=(?P<signature>[0-9a-f]{64})"
)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_NO_BODY = hashlib.sha256(b"").hexdigest()
#: A path without empty segments, without ``.`` and ``..``, and without a query or fragment.
_PATH = re.compile(r"(/(?!\.{0,2}(/|$))[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+/?")
_REGION = re.compile(r"[a-z]{2}[a-z0-9-]{1,30}")


@dataclass(frozen=True)
class Authorization:
    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class SignedRequest:
    method: str
    #: As sent, without the query.
    raw_path: bytes
    query: Sequence[tuple[str, str]]
    #: Lower-case names; repeated headers joined by commas.
    headers: Mapping[str, str]
    #: Whether the connection protects the request from changes by third parties.
    is_private: bool


def read_authorization(header: str | None) -> Authorization | None:
    """Parse an Authorization header. Return None if it is not one of Signature Version 4."""
    found = _HEADER.fullmatch(header or "")
    if found is None:
        return None
    scope = found["credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request" or not _REGION.fullmatch(scope[2]):
        return None
    return Authorization(
        access_key=scope[0],
        date=scope[1],
        region=scope[2],
        service=scope[3],
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
    )


class Verifier:
    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = dict(secrets)

    def check_before_body(
        self, request: SignedRequest, authorization: Authorization | None, now: datetime
    ) -> Authorization:
        """Check everything that does not need the body. Raises AccessDeniedError."""
        if authorization is None:
            raise AccessDeniedError("the request is not signed with AWS Signature Version 4")
        if authorization.access_key not in self._secrets:
            raise AccessDeniedError("the access key is unknown")
        if authorization.service != SERVICE:
            raise AccessDeniedError(f"the signature is not for the service {SERVICE}")
        if uncovered := sorted(_to_be_signed(request) - set(authorization.signed_headers)):
            raise AccessDeniedError(f"the signature must cover the header {uncovered[0]}")
        signed_at = _moment(request.headers.get("x-amz-date", ""))
        if abs((now - signed_at).total_seconds()) > MAX_SKEW_SECONDS:
            raise AccessDeniedError(
                "Signature expired or not yet valid: the request's time is more than"
                f" {MAX_SKEW_SECONDS} s away from this service's clock"
            )
        if request.headers["x-amz-date"][:8] != authorization.date:
            raise AccessDeniedError("the signature's scope and the request have different dates")
        declared = request.headers.get("x-amz-content-sha256")
        if declared is not None and declared.startswith("STREAMING-"):
            raise AccessDeniedError("signatures in chunks are not supported; sign the whole body")
        return authorization

    def check(self, request: SignedRequest, authorization: Authorization, body_sha256: str) -> None:
        """Compare the signature, and the body with its declared digest.

        Raises AccessDeniedError.
        """
        declared = request.headers.get("x-amz-content-sha256")
        payload = body_sha256
        if declared == UNSIGNED_PAYLOAD:
            # The AWS SDK for Java sends this value for every request that has no body.
            if not request.is_private and body_sha256 != _NO_BODY:
                raise AccessDeniedError(
                    "the body must be signed unless the connection is TLS or from this machine"
                )
            payload = UNSIGNED_PAYLOAD
        elif declared is not None and not hmac.compare_digest(declared.encode(), payload.encode()):
            raise AccessDeniedError("the body is not the one that x-amz-content-sha256 declares")
        secret = self._secrets[authorization.access_key]
        expected = _signature(request, authorization, secret, payload)
        if not hmac.compare_digest(expected, authorization.signature):
            raise AccessDeniedError(
                "the request's signature does not match: wrong secret key, or changed in transit"
            )


def _to_be_signed(request: SignedRequest) -> set[str]:
    """Return the headers that must be signed, because they could change the request's meaning.

    Content-Type is not among them, as at Amazon. An image's type is read from its signed bytes, so
    that a changed Content-Type can only make the request fail.
    """
    given = {name for name in request.headers if name.startswith(("x-amz-", "x-amzn-client-"))}
    return {"host", "x-amz-date"} | given


def _moment(text: str) -> datetime:
    try:
        if _DATE.fullmatch(text):
            return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        pass
    raise AccessDeniedError("the header x-amz-date is missing or not a date")


class _Expected(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Botocore's signer, for the headers that the client chose and a known digest of the body."""

    def __init__(self, authorization: Authorization, secret: str, payload: str) -> None:
        credentials = Credentials(authorization.access_key, secret)
        super().__init__(credentials, authorization.service, authorization.region)
        self._signed_headers = authorization.signed_headers
        self._payload = payload

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name in self._signed_headers:
            headers[name] = request.headers.get(name, "")
        return headers

    def payload(self, _: AWSRequest) -> str:
        return self._payload


def _signature(
    request: SignedRequest, authorization: Authorization, secret: str, payload: str
) -> str:
    """Return the signature that this request must have, in hex. Raises AccessDeniedError."""
    path = request.raw_path.decode("latin-1")
    # Botocore normalizes dot segments and double slashes before it signs; the router does not.
    if not _PATH.fullmatch(path):
        raise AccessDeniedError("the request's path is not in the form that is signed")
    expected = AWSRequest(
        request.method,
        path,
        headers={k: v for k, v in request.headers.items() if k != "authorization"},
        params=request.query,
    )
    expected.context["timestamp"] = request.headers["x-amz-date"]
    signer = _Expected(authorization, secret, payload)
    text = signer.string_to_sign(expected, signer.canonical_request(expected))
    signature: str = signer.signature(text, expected)
    return signature
