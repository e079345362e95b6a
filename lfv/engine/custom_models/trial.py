"""Runs a user's ONNX model once, where it can do no harm.

A process of its own checks the model in full, loads it and runs it on a picture of noise, twice,
and on a flat one, with limits of processor time, memory and file size that the kernel keeps. What
the model returns, and what that took, come back; everything else is a refusal.
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

#: Processor time for loading a model and three runs.
SECONDS = 30.0
#: Memory for the same, beyond what the interpreter has taken before.
BYTES = 3 * 1024**3
#: Times as long may it take by the clock, on a machine that is busy.
_PATIENCE = 4
#: Seconds of processor time to start an interpreter with onnx in it.
_START = 5.0
_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "out of memory", "Out of memory")


@dataclass(frozen=True)
class Output:
    """What came out under one name."""

    name: str
    #: As numpy names the type.
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Trial:
    """What a model does."""

    outputs: tuple[Output, ...]
    #: Processor time of one image.
    seconds: float


def try_out(
    body: bytes,
    source: ImageInput,
    size: tuple[int, int],
    *,
    seconds: float = SECONDS,
    memory: int = BYTES,
) -> Trial:
    """Run ``body`` on pictures of ``size`` (width, height).

    Raises:
        OnnxRejected: If it breaks, gives no numbers or others each time, or takes too long or too
            much memory.
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
            said, _ = process.communicate(body, timeout=_PATIENCE * (seconds + _START))
        except subprocess.TimeoutExpired:
            raise _too_slow(seconds) from None
        finally:
            process.kill()
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _too_slow(seconds)
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise OnnxRejected(
            "broke",
            f"The process that tried it ended with status {process.returncode}, perhaps for lack "
            f"of memory (it may take {memory >> 20} MiB).",
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
    """What the process says: ``outputs`` and ``seconds``, or ``refused`` and ``message``."""
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
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the model's)
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
    message = f"It needs more than the {int(order['memory']) >> 20} MiB of memory it may have."
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
