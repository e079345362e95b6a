"""Runs the service with options as JSON, for those that its command line has no option for."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from lfv.server.errors import ServiceError
from lfv.server.options import Limits, ServeOptions, Serving, Transport
from lfv.server.service import run

_PATHS = (
    "home",
    "ready_file",
    "exit_when_unused",
    "tls_certificate",
    "tls_key",
    "backbone",
    "detector",
)


def options_from(document: dict[str, Any]) -> ServeOptions:
    for name in _PATHS:
        if document.get(name) is not None:
            document[name] = Path(document[name])
    document["buckets"] = {k: Path(v) for k, v in document.get("buckets", {}).items()}
    for name, kind in (("limits", Limits), ("serving", Serving), ("transport", Transport)):
        document[name] = kind(**document.get(name, {}))
    return ServeOptions(**document)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stderr)
    try:
        run(options_from(json.loads(sys.argv[1])))
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
