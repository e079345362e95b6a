"""Accepts a user's ONNX file: reads, inspects and tries it, and selects its outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lfv.engine.custom_models import inspection, trial
from lfv.engine.custom_models.inspection import ImageInput
from lfv.engine.custom_models.runner import CustomView
from lfv.engine.custom_models.trial import Output, Trial
from lfv.engine.errors import OnnxRejected

MAX_CHANNELS = 4096
#: Maximum count of numbers in the joined maps of one image: 128 MiB.
MAX_MAP_VALUES = 1 << 25
#: Longer side of the images for a backbone that accepts any size; sides are multiples of 32.
BACKBONE_SIDE = 384
#: Side of the images for a detector that accepts any size (anomalib's default).
DETECTOR_SIDE = 256
#: Name of the first output of anomalib 0.x and 1.x, the only one that matters.
ANOMALIB_OUTPUT = "output"
#: (width, height) for trying a model before the images are known.
USUAL_IMAGE = (512, 512)


@dataclass(frozen=True)
class Accepted:
    """A model that can be used."""

    body: bytes
    view: CustomView
    #: CPU time for one image, in the trial.
    seconds: float

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def read_onnx(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises:
        OnnxRejected: ``unreadable`` or ``too_large``.
    """
    try:
        if not path.is_file():
            raise OnnxRejected("unreadable", "There is no such file.")
        with path.open("rb") as file:
            body = file.read(limit + 1)
    except OSError as error:
        raise OnnxRejected("unreadable", f"It cannot be read: {error.strerror}.") from error
    if len(body) > limit:
        raise OnnxRejected("too_large", f"It is larger than the limit of {limit / 2**20:g} MiB.")
    return body


def accept_backbone(body: bytes, image: tuple[int, int] = USUAL_IMAGE) -> Accepted:
    """Accept ``body`` as a backbone for images of this (width, height).

    Its maps are all outputs of type float and shape [1, channels, rows, columns], scaled to the
    finest grid among them.

    Raises:
        OnnxRejected: If it cannot be used; the message says why.
    """
    source = inspection.inspect(body, inspection.IMAGENET)
    scale = min(1.0, BACKBONE_SIDE / max(image))
    size = _size(source, *(max(32, round(side * scale / 32) * 32) for side in image))
    tried = trial.try_out(body, source, size)
    maps = [one for one in tried.outputs if _is_float(one) and len(one.shape) == 4]
    if not maps or any(one.shape[0] != 1 or 0 in one.shape for one in maps):
        raise OnnxRejected(
            "outputs",
            "A backbone needs outputs of type float and shape [1, channels, rows, columns]; it "
            f"returns {_describe(tried)}.",
        )
    rows, columns = (max(one.shape[axis] for one in maps) for axis in (2, 3))
    channels = sum(one.shape[1] for one in maps)
    if channels > MAX_CHANNELS or channels * rows * columns > MAX_MAP_VALUES:
        raise OnnxRejected(
            "outputs",
            f"Its maps are too large: {channels} channels of {rows}x{columns} (at most "
            f"{MAX_CHANNELS} channels and {MAX_MAP_VALUES} values in all).",
        )
    names = tuple(one.name for one in maps)
    return Accepted(body, CustomView(*size, source, names, rows, columns), tried.seconds)


def accept_detector(body: bytes) -> Accepted:
    """Accept ``body`` as a detector.

    Its score is the output named ``pred_score``, else ``output``, else the only one with a single
    value of type float. Its map is the output named ``anomaly_map``, else ``output``, else the only
    two-dimensional one. Either is enough. Labels and masks from the detector's own thresholds are
    ignored.

    Raises:
        OnnxRejected: If it cannot be used; the message says why.
    """
    source = inspection.inspect(body, inspection.PLAIN)
    size = _size(source, DETECTOR_SIDE, DETECTOR_SIDE)
    tried = trial.try_out(body, source, size)
    floats = [one for one in tried.outputs if _is_float(one)]
    score = _pick("pred_score", [one for one in floats if all(n == 1 for n in one.shape)])
    spread = [one for one in floats if _is_map(one)]
    found = _pick("anomaly_map", spread)
    if score is None and found is None:
        raise OnnxRejected(
            "outputs",
            "A detector needs pred_score, one value of type float, or anomaly_map, of shape "
            f"[1, 1, height, width]; it returns {_describe(tried)}.",
        )
    rows, columns = (0, 0) if found is None else found.shape[-2:]
    names = tuple("" if one is None else one.name for one in (score, found))
    return Accepted(body, CustomView(*size, source, names, rows, columns), tried.seconds)


def _size(source: ImageInput, width: int, height: int) -> tuple[int, int]:
    return source.width or width, source.height or height


def _is_float(output: Output) -> bool:
    return output.kind in ("float16", "float32", "float64")


def _is_map(output: Output) -> bool:
    *outer, rows, columns = (1, 1, *output.shape)
    return len(output.shape) in (2, 3, 4) and min(rows, columns) > 1 and all(n == 1 for n in outer)


def _pick(name: str, outputs: Sequence[Output]) -> Output | None:
    for wanted in (name, ANOMALIB_OUTPUT):
        for one in outputs:
            if one.name == wanted:
                return one
    return outputs[0] if len(outputs) == 1 else None


def _describe(tried: Trial) -> str:
    return ", ".join(f"{one.name} ({one.kind} {list(one.shape)})" for one in tried.outputs)
