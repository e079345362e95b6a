"""Requests signed with SigV4."""

from __future__ import annotations

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.service import Service

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signed(
    service: Service,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    name: str = "lookoutvision",
) -> dict[str, str]:
    """The headers that botocore's signer gives a request."""
    request = AWSRequest(
        method, f"http://127.0.0.1:{service.port}{path}", data=body, headers=headers or {}
    )
    SigV4Auth(Credentials(KEY, SECRET), name, "us-east-1").add_auth(request)
    return dict(request.headers.items())


PROJECTS = "/2020-11-20/projects"
