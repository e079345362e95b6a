"""`lfv` in a process forked by `forks`, with calls that fail and options of its flow.

Its argument is one JSON object::

    {"arguments": [...], "api_url": URL or null, "options": {...}, "broken": FILE,
     "breaks": [{"where": "module:attribute.path", "call": N, "what": "raise" | "die"}, ...]}

`breaks` make the N-th call of a function fail or, with ``"die"``, kill the process at once, or send
it the signal that `what` names; the file `broken` then holds the time. `options` are given to the
flow (`with_options`). Importing this module imports all that a run imports, at its start or later.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

for _module in (
    "flows.inspect_images",
    "lfv.cli.inspect",
    "lfv.cli.flow_run",
    "lfv.cli.prefect_api",
    "lfv_store.dialects.postgresql",
    "anyio._backends._asyncio",
    "encodings.idna",
    "fastapi",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.telemetry.run_telemetry",
    "prefect.utilities.visualization",
    "psycopg",
):
    import_module(_module)

from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: E402

from lfv.cli.app import run  # noqa: E402
from lfv.cli.signals import interrupt  # noqa: E402
from lfv.report import render  # noqa: E402

for _template in ("base.html", "macros.html", "run.html"):
    render._environment().get_template(_template)  # compiles it


def main() -> None:
    """Run the command that the argument describes."""
    signal.signal(signal.SIGINT, interrupt)
    job = json.loads(sys.argv[1])
    for broken in job["breaks"]:
        _break(Path(job["broken"]), **broken)
    if job["options"]:
        flows = import_module("flows.inspect_images")
        for name in ("inspect_images", "resume_inspection"):
            setattr(flows, name, getattr(flows, name).with_options(**job["options"]))
    with temporary_settings({PREFECT_API_URL: job["api_url"]} if job["api_url"] else {}):
        sys.exit(run(job["arguments"]))


def _break(broken: Path, *, where: str, call: int, what: str) -> None:
    module, _, path = where.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, _breaking(getattr(owner, name), call, what, broken))


def _breaking(function: Callable[..., Any], call: int, what: str, file: Path) -> Any:
    calls = count(1)

    def broken(*args: Any, **kwargs: Any) -> Any:
        if next(calls) != call:
            return function(*args, **kwargs)
        temporary = file.with_name(file.name + ".tmp")
        temporary.write_text(str(time.time()))
        temporary.replace(file)
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what.startswith("SIG"):
            signal.raise_signal(signal.Signals[what])
        raise RuntimeError(f"broken at call {call} of {function.__qualname__}")

    return broken
