"""Options of one training: those of its request, and the service's own for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from lfv.formats.training_request import NEEDS_TORCH, TrainingRequest
from lfv.onnx_files import accepted_file
from lfv.server.errors import ValidationError
from lfv.server.jobs.context import JobContext
from lfv.server.options import has_torch

_FILE = "request.json"
_PLAIN = ("network", "pretrained", "miss_cost", "false_alarms")


def store_request(context: JobContext, request: TrainingRequest, folder: Path) -> None:
    """Keep a training's request, and the ONNX file that it names, in the training's folder.

    The file is linked, so that it stays when the service starts again and removes the files that it
    was not started with. Raises ValidationError if the file or PyTorch is missing.
    """
    if request.network and not has_torch():
        raise ValidationError(f"a network {NEEDS_TORCH}")
    for role, digest in _digests(request).items():
        accepted = accepted_file(context.home.graphs, role, digest)
        try:
            accepted_file(folder, role, digest).hardlink_to(accepted)
        except FileNotFoundError:
            raise ValidationError(
                f"the {role} with SHA-256 {digest} is not at this service: `lfv train --{role}` on "
                "its machine copies the file to it"
            ) from None
    (folder / _FILE).write_bytes(orjson.dumps(request.to_tags()))


def options_of_training(context: JobContext, folder: Path) -> dict[str, Any]:
    """Return the options of a trainer's job.

    `options` has the engine's names, `graphs` the paths of ONNX files by role. `fitted` is of the
    request.
    """
    file = folder / _FILE
    # A training that began under an earlier release has no request.
    tags = orjson.loads(file.read_bytes()) if file.exists() else {}
    request = TrainingRequest.from_tags(tags)
    given = {name: getattr(request, name) for name in _PLAIN}
    options = {name: value for name, value in given.items() if value is not None}
    usual = dict(context.training_options)
    graphs = {
        role: accepted_file(folder, role, digest) for role, digest in _digests(request).items()
    }
    if not graphs:
        graphs = dict(context.graphs)
        if request.network:
            graphs.pop("detector", None)  # a detector is not trained
    if "detector" in graphs:
        usual.pop("network", None)
    return {
        "options": usual | options,
        "graphs": {role: str(path) for role, path in graphs.items()},
        "fitted": request.fitted,
    }


def _digests(request: TrainingRequest) -> dict[str, str]:
    given = {"backbone": request.backbone, "detector": request.detector}
    return {role: digest for role, digest in given.items() if digest is not None}
