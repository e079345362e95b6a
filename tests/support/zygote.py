"""Starts `lfv` commands as separate processes, without repeating the imports for each.

Runs as ``python zygote.py``, imports what a run imports and forks a child for every line of JSON on
its standard input::

    {"job": FILE, "arguments": [...], "environment": {...}, "api_url": URL or null,
     "breaks": [{"where": "module:attribute.path", "call": N, "what": "raise" | "die"}, ...],
     "options": {...}}

A child is `lfv` with `arguments` in its own session, and writes to FILE.out and FILE.err.
FILE.pid and, once it ended, FILE.status (negative: the signal that ended it) are written whole.
`breaks` make its N-th call of a function fail or, with ``"die"``, kill the process at once;
FILE.broken then holds the time.  `options` are given to the flow (`with_options`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from lfv.launch import loading

#: What a run imports, at its start or later: imported once, before the forks.
_IMPORTED = (
    "flows.inspect_images",
    "lfv.cli.inspect",
    "lfv.cli.flow_run",
    "lfv.cli.main",
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
)


def main() -> None:
    with loading():
        for module in _IMPORTED:
            import_module(module)
        templates = import_module("lfv.report.pages")._environment()
        for template in ("base.html", "macros.html", "run.html"):
            templates.get_template(template)  # compiles it
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked safely")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for these processes
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if os.fork() == 0:
            _start_and_wait(json.loads(line))


def _start_and_wait(job: Mapping[str, Any]) -> None:
    """In the fork: fork again, wait for that one, and report its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        _become(job)
    _write_whole(Path(f"{job['job']}.pid"), str(child))
    _, status = os.waitpid(child, 0)
    _write_whole(Path(f"{job['job']}.status"), str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(job: Mapping[str, Any]) -> NoReturn:
    os.setsid()
    for descriptor, name in ((0, "/dev/null"), (1, f"{job['job']}.out"), (2, f"{job['job']}.err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(job["environment"])
    for broken in job["breaks"]:
        _break(Path(f"{job['job']}.broken"), **broken)
    if job["options"]:
        flows = import_module("flows.inspect_images")
        for name in ("inspect_images", "resume_inspection"):
            setattr(flows, name, getattr(flows, name).with_options(**job["options"]))
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from lfv.cli.main import run

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
        _write_whole(file, str(time.time()))
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError(f"broken at call {call} of {function.__qualname__}")

    return broken


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    main()
