"""Runs the engine's own ONNX models."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lfv.engine.errors import ArtifactError

Features = NDArray[np.float32]


class OnnxSession:
    """An ONNX model in an onnxruntime session: uint8 pixels in, one stack of maps out.

    One thread by default: a second one doubled the CPU time per image for a tenth less latency
    (measured), so throughput scales by processes.
    """

    def __init__(self, onnx_model: bytes, *, threads: int = 1) -> None:
        # "All" would also block channels by 16, which pads filters of one or three channels to 16:
        # a quarter more CPU time for these models, with the same result.
        level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        self._session, self._input = _open(onnx_model, level, threads)

    def __call__(self, pixels: NDArray[np.uint8]) -> Features:
        """Map uint8 [height, width, 3] to float32 [channels, rows, columns]."""
        (features,) = self._session.run(None, {self._input: pixels[None]})
        result: Features = features[0]
        return result


class MapsSession:
    """An ONNX model in a session: uint8 pixels in, several named maps out."""

    def __init__(
        self,
        onnx_model: bytes,
        outputs: Sequence[str],
        size: tuple[int, int],
        *,
        threads: int = 1,
    ) -> None:
        level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session, self._input = _open(onnx_model, level, threads)
        self._outputs = list(outputs)
        #: (width, height) of the images it takes.
        self.size = size

    def __call__(self, pixels: NDArray[np.uint8], /) -> tuple[Features, ...]:
        """Map uint8 [height, width, 3] to float32 [channels, rows, columns] of each output."""
        shown = np.ascontiguousarray(pixels)[None]
        return tuple(maps[0] for maps in self._session.run(self._outputs, {self._input: shown}))


def _open(onnx_model: bytes, level: Any, threads: int) -> tuple[Any, str]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    if _would_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = ort.InferenceSession(
            onnx_model, sess_options=options, providers=["CPUExecutionProvider"]
        )
        (source,) = session.get_inputs()
    except Exception as error:
        raise ArtifactError(f"The model's ONNX file cannot be loaded: {error}") from error
    return session, source.name


@cache
def _would_overflow() -> bool:
    """Whether products of 8-bit maps and weights may overflow here: on x86 without VNNI.

    Unless exact products are requested, onnxruntime then saturates sums of two of them at 16 bits,
    and the model's answers differ from those where it was trained. Exact products take twice as
    long.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # unknown, so use exact products
    return not {"avx512_vnni", "avx_vnni"} & set(facts.split())
