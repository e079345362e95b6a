"""Finds the operation of a method and path, from the URI templates of the service model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from botocore.model import OperationModel, ServiceModel

from lfv.server.errors import UnknownOperationError, ValidationError

#: The path of an endpoint URL such as ``http://host/lfv``.
_PREFIX = r"(?:/[\w.~-]+)*"


@dataclass(frozen=True)
class Match:
    operation: OperationModel
    #: By the name used in the template, such as ``projectName``; percent-decoded.
    uri_parameters: dict[str, str]


class Router:
    """Matches the raw path, so that an encoded slash stays inside its segment."""

    def __init__(self, model: ServiceModel) -> None:
        self._routes: list[tuple[str, re.Pattern[str], OperationModel]] = []
        for name in model.operation_names:
            operation = model.operation_model(name)
            template = operation.http["requestUri"]
            pattern = _PREFIX + re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
            self._routes.append((operation.http["method"], re.compile(pattern), operation))

    def match(self, method: str, raw_path: bytes) -> Match:
        """Return the operation. Raises UnknownOperationError, or ValidationError for bad UTF-8."""
        path = raw_path.partition(b"?")[0].decode("latin-1")
        for route_method, pattern, operation in self._routes:
            if route_method == method and (found := pattern.fullmatch(path)):
                return Match(operation, {k: _unquote(v) for k, v in found.groupdict().items()})
        raise UnknownOperationError(f"no operation has the method {method} and this path")


def _unquote(segment: str) -> str:
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise ValidationError("the path is not UTF-8") from None
