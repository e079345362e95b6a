"""The ONNX graph that an operator gives the service: looked at, tried out and copied, once.

Only ``--backbone`` and ``--detector`` name a file; nothing in a request does.  A process of its own
validates the copy before the service answers anybody, and trainings read the copy, so that what was
accepted is what is used, whatever becomes of the file.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import orjson

from lfv.server.errors import OptionsError
from lfv.server.home import Home
from lfv.server.options import MIB, ServeOptions

_log = logging.getLogger(__name__)
_ENGINE = "lfv.engine.custom_models"


def accept_graphs(options: ServeOptions, home: Home) -> dict[str, Path]:
    """``backbone`` or ``detector`` and its copy in the state folder, or nothing.

    Raises OptionsError for a file that is refused, with the reason.
    """
    given = {"backbone": options.backbone, "detector": options.detector}
    accepted: dict[str, Path] = {}
    for role, path in given.items():
        if path is not None:
            accepted[role] = _accept(role, path, options.graph_mib * MIB, home)
    if home.graphs.is_dir():
        for known in home.graphs.iterdir():
            if known not in accepted.values():
                known.unlink()
    return accepted


def _accept(role: str, path: Path, limit: int, home: Home) -> Path:
    home.graphs.mkdir(exist_ok=True)
    copy = home.graphs / f"{role}.new"
    try:
        if not path.is_file():
            raise OptionsError(f"--{role} {path}: there is no such file")
        if (size := path.stat().st_size) > limit:
            raise OptionsError(
                f"--{role} {path}: it has {size / MIB:.1f} MiB; --graph-mib allows {limit // MIB}"
            )
        shutil.copyfile(path, copy)
    except OSError as error:
        raise OptionsError(f"--{role} {path} can't be read: {error.strerror}") from error
    if (problem := _validate(role, copy, limit)) is not None:
        copy.unlink()
        raise OptionsError(f"--{role} {path} is refused: {problem}")
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _log.info("%s %s accepted, SHA-256 %s", role, path, digest)
    return copy.replace(home.graphs / f"{role}-{digest}.onnx")


def _validate(role: str, path: Path, limit: int) -> str | None:
    """What is wrong with the graph, told by a process of its own; None if nothing is."""
    done = subprocess.run(
        [sys.executable, "-m", _ENGINE, role, str(path), str(limit)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    try:
        answer = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        return f"the process that looked at it ended with status {done.returncode}"
    return None if "accepted" in answer else f"{answer['message']} ({answer['refused']})"
