"""Checks and copies the operator's ONNX model when the service starts.

Only ``--backbone`` and ``--detector`` name a file; requests cannot. A separate process checks the
file before the service answers requests, and writes a copy if it is accepted. Trainings read the
copy, so later changes of the file have no effect.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import orjson

from lfv.onnx_files import onnx_digest
from lfv.server.errors import OptionsError
from lfv.server.home import Home
from lfv.server.options import MIB, ServeOptions

_log = logging.getLogger(__name__)
_ENGINE = "lfv.engine.custom_models"


def accept_graphs(options: ServeOptions, home: Home) -> dict[str, Path]:
    """Return ``backbone`` or ``detector`` with its copy in the state folder, or nothing.

    Raises OptionsError with the reason if a file is refused.
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
    if not path.exists():
        raise OptionsError(f"--{role} {path}: there is no such file or folder")
    try:
        if path.is_file() and (size := path.stat().st_size) > limit:
            raise OptionsError(
                f"--{role} {path}: it has {size / MIB:.1f} MiB; --graph-mib allows {limit // MIB}"
            )
        problem = _validate(role, path, limit, copy)
        if problem is not None:
            raise OptionsError(f"--{role} {path} is refused: {problem}")
        digest = onnx_digest(path)
        _log.info("%s %s accepted, SHA-256 %s", role, path, digest)
        return copy.replace(home.graphs / f"{role}-{digest}.onnx")
    except (OSError, ValueError) as error:
        raise OptionsError(f"--{role} {path} cannot be read: {error}") from error
    finally:
        copy.unlink(missing_ok=True)


def _validate(role: str, path: Path, limit: int, copy: Path) -> str | None:
    """Check the graph in a separate process. Return what is wrong with it, or None."""
    done = subprocess.run(
        [sys.executable, "-m", _ENGINE, role, str(path), str(limit), str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    try:
        answer = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        return f"the process that looked at it ended with status {done.returncode}"
    return None if "accepted" in answer else f"{answer['message']} ({answer['refused']})"
