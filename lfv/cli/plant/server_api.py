"""Calls to a plant's Prefect server, without Prefect, whose import takes seconds."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

_SECONDS = 20.0
#: Requests to this machine use no proxy.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: Errors of a call: the server does not answer, refuses, or answers with something other than JSON.
ApiFailure = (OSError, HTTPException, ValueError)


@dataclass(frozen=True)
class ServerApi:
    """The API at `url`, which ends in `/api`. A call waits at most `seconds` for its answer."""

    url: str
    seconds: float = _SECONDS

    def get(self, path: str) -> Any:
        """Return the answer to a GET request. Raises one of `ApiFailure`."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to a POST request. Raises one of `ApiFailure`."""
        return self._call("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a PATCH request. Raises one of `ApiFailure`."""
        self._call("PATCH", path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with _DIRECT.open(request, timeout=self.seconds) as answer:
            content = answer.read()
        return json.loads(content) if content else None
