"""Runs a user's ONNX model where it can do no harm.

A separate process checks the model in full, loads it, and runs it twice on noise and once on a grey
image. The kernel enforces limits on CPU time, memory and file size. The result is a description of
the outputs and the time; any failure is a refusal.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfv.engine.custom_models.inspection import ImageInput
from lfv.engine.errors import OnnxRejected

#: CPU time for loading a model and three runs.
SECONDS = 30.0
#: Memory for this, in addition to that of the interpreter.
BYTES = 3 * 1024**3
#: Wall-clock time allowed, as a multiple of the CPU time.
_WALL_CLOCK = 4
#: Seconds of CPU time for starting an interpreter and importing onnx.
_START = 5.0
_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "out of memory", "Out of memory")


@dataclass(frozen=True)
class Output:
    """One output of a model."""

    name: str
    #: Name of the numpy type.
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial."""

    outputs: tuple[Output, ...]
    #: CPU time for one image.
    seconds: float


def try_out(
    body: bytes,
    source: ImageInput,
    size: tuple[int, int],
    *,
    seconds: float = SECONDS,
    memory: int = BYTES,
) -> Trial:
    """Run ``body`` on images of ``size`` (width, height).

    Raises:
        OnnxRejected: If it fails, returns NaN or different values each time, or takes too much time
            or memory.
    """
    order = {"source": source.to_json(), "size": size, "seconds": seconds, "memory": memory}
    command = [sys.executable, "-m", "lfv.engine.custom_models.trial", json.dumps(order)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(body, timeout=_WALL_CLOCK * (seconds + _START))
        except subprocess.TimeoutExpired:
            raise _too_slow(seconds) from None
        finally:
            process.kill()
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _too_slow(seconds)
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        raise OnnxRejected(
            "broke",
            f"The process that tried it ended with status {process.returncode}, perhaps for lack "
            f"of memory (the limit is {memory >> 20} MiB).",
        ) from None
    if "refused" in answer:
        raise OnnxRejected(answer["refused"], answer["message"])
    outputs = (Output(o["name"], o["kind"], tuple(o["shape"])) for o in answer["outputs"])
    return Trial(tuple(outputs), float(answer["seconds"]))


def _too_slow(seconds: float) -> OnnxRejected:
    return OnnxRejected(
        "too_slow", f"Loading it and running it on three images took more than {seconds:g} s."
    )


def main(order: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """Return ``outputs`` and ``seconds``, or ``refused`` and ``message``."""
    import numpy as np
    import onnx

    from lfv.engine.custom_models.runner import open_session, tensor_of
    from lfv.engine.onnx_safety import first_line

    source = ImageInput.from_json(order["source"])
    width, height = order["size"]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    flat = np.full_like(noise, 128)
    _limit(float(order["seconds"]), int(order["memory"]))
    try:
        onnx.checker.check_model(onnx.load_model_from_string(body), full_check=True)
        session = open_session(body)
        names = [output.name for output in session.get_outputs()]
        began = time.process_time()
        first, again, calm = (
            session.run(names, {source.name: tensor_of(source, pixels)})
            for pixels in (noise, noise, flat)
        )
        seconds = (time.process_time() - began) / 3
    except MemoryError:
        return _no_memory(order)
    except Exception as error:  # noqa: BLE001 (any error is the model's fault)
        if any(words in str(error) for words in _NO_MEMORY):
            return _no_memory(order)
        return {"refused": "broke", "message": f"It does not run: {first_line(error)}"}
    outputs = []
    for name, values, repeated, other in zip(names, first, again, calm, strict=True):
        if not isinstance(values, np.ndarray):
            return {"refused": "outputs", "message": f"Its output {name!r} is not a tensor."}
        if values.dtype.kind == "f":
            if not (np.isfinite(values).all() and np.isfinite(other).all()):
                message = f"Its output {name!r} has values that are not numbers."
                return {"refused": "not_finite", "message": message}
            if values.shape != repeated.shape or not np.array_equal(values, repeated):
                message = f"Its output {name!r} differs from run to run on the same image."
                return {"refused": "not_repeatable", "message": message}
        outputs.append({"name": name, "kind": str(values.dtype), "shape": list(values.shape)})
    return {"outputs": outputs, "seconds": seconds}


def _no_memory(order: Mapping[str, Any]) -> dict[str, Any]:
    message = f"It needs more memory than the limit of {int(order['memory']) >> 20} MiB."
    return {"refused": "out_of_memory", "message": message}


def _limit(seconds: float, memory: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    cpu = int(time.process_time() + seconds) + 1
    for which, limit in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (bound, hard))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]), sys.stdin.buffer.read())))
