"""Renders docs/api-coverage.md from the service model and the registered handlers."""

from __future__ import annotations

from botocore.model import OperationModel

from lfv.client.api.model import API_VERSION, service_model
from lfv.server.errors import ApiError
from lfv.server.operations import HANDLERS

_DETECT = "lfv.server.detection"


def implemented_in(operation: str) -> str | None:
    """Return the module that answers an operation, or None."""
    if operation == "DetectAnomalies":
        return _DETECT
    handler = HANDLERS.get(operation)
    return None if handler is None else handler.__module__


def page() -> str:
    """Return the page as Markdown, without the note that it is generated."""
    model = service_model()
    names = sorted(model.operation_names)
    rows = [_row(model.operation_model(name)) for name in names]
    done = sum(implemented_in(name) is not None for name in names)
    errors = [_error_row(kind) for kind in sorted(_codes(ApiError), key=lambda kind: kind.code)]
    return "\n".join(
        [
            "# API coverage",
            "",
            f"API version {API_VERSION}: {done} of {len(names)} operations are answered. Every",
            "request is decoded and checked by the service model in `lfv/client/api/data`, whose",
            "facts the tests compare with those in botocore 1.40.60; every answer and error that",
            "the tests see is checked against that model too. [service.md](service.md) lists known",
            "differences from the original, and cases that no source documents.",
            "",
            "| operation | request | answer | ClientToken | pages | answered by |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "## Errors",
            "",
            "| error | status | members |",
            "|---|---|---|",
            *errors,
            "",
            "`UnknownOperationException` is not in the service model; it answers unknown",
            "paths, as Amazon does. Retry-After is a header.",
            "",
        ]
    )


def _row(operation: OperationModel) -> str:
    members = operation.input_shape.members if operation.input_shape else {}
    cells = (
        f"`{operation.name}`",
        f"`{operation.http['method']} {operation.http['requestUri']}`",
        str(operation.http.get("responseCode", 200)),
        "yes" if "ClientToken" in members else "",
        "yes" if "NextToken" in members else "",
        f"`{where}`" if (where := implemented_in(operation.name)) else "**not answered**",
    )
    return f"| {' | '.join(cells)} |"


def _codes(kind: type[ApiError]) -> set[type[ApiError]]:
    found = {kind} if "code" in vars(kind) else set()
    return found.union(*(_codes(below) for below in kind.__subclasses__()))


def _error_row(kind: type[ApiError]) -> str:
    model = service_model()
    members = "Message"
    if kind.code in model.shape_names:
        shape = model.shape_for(kind.code)
        members = ", ".join(
            "Retry-After" if name == "RetryAfterSeconds" else name for name in shape.members
        )
    return f"| `{kind.code}` | {kind.status} | {members} |"
