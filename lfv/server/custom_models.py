"""ONNX models that trainings may use: copies, in the state folder, of files that were accepted.

A separate process checks a file and writes the copy. The service does that with its own
``--backbone`` or ``--detector`` before it answers requests; `lfv train` on the same machine, which
can write to the state folder, with those of its user. No request can name a file: it names the
digest of one that was accepted.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from lfv.onnx_files import OnnxFileRefused, accept_onnx_file
from lfv.server.errors import OptionsError
from lfv.server.home import Home
from lfv.server.options import MIB, ServeOptions

_log = logging.getLogger(__name__)


def accept_graphs(options: ServeOptions, home: Home) -> dict[str, Path]:
    """Return ``backbone`` or ``detector`` with its copy in the state folder, or nothing.

    Raises OptionsError with the reason if a file is refused.
    """
    given = {"backbone": options.backbone, "detector": options.detector}
    accepted: dict[str, Path] = {}
    for role, path in given.items():
        if path is not None:
            try:
                copy = accept_onnx_file(role, path, options.graph_mib * MIB, home.graphs)
            except OnnxFileRefused as error:
                raise OptionsError(str(error)) from error
            accepted[role] = copy
            _log.info("%s %s accepted as %s", role, path, copy.name)
    if home.graphs.is_dir():
        for known in home.graphs.iterdir():
            if known.is_dir():  # a check that was killed
                shutil.rmtree(known, ignore_errors=True)
            elif known not in accepted.values():
                known.unlink()
    return accepted
