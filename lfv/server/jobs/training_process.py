"""The training process: ``python -m lfv.server.jobs.training_process JOB.json``.

Reads the job and prints one JSON object a line: damaged images, progress, and finally the outcome.
When its standard input closes, the service has ended; the process then kills itself and all
processes that it started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import orjson

from lfv.engine.seam import (
    Engine,
    TrainingError,
    TrainingImage,
    TrainingOptions,
    load_engine,
)
from lfv.server.home import DISK_FULL, is_disk_full
from lfv.server.jobs.image_names import with_names
from lfv.server.jobs.training_report import write_report


def main(job_path: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Libraries may print to stdout, so the answers have a separate descriptor.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(5)  # inference has priority
    job = orjson.loads(Path(job_path).read_bytes())
    _send(answers, _train(job, answers))


def _train(job: dict[str, Any], answers: IO[bytes]) -> dict[str, Any]:
    engine: Engine = load_engine(job["engine"])

    def progress(share: float, what: str) -> None:
        _send(answers, {"progress": share, "what": what})

    def images(kind: str) -> list[TrainingImage]:
        given = [
            TrainingImage(
                source_ref=image["source_ref"],
                path=Path(image["path"]),
                is_anomalous=image["is_anomalous"],
                mask_path=Path(image["mask_path"]) if image["mask_path"] else None,
                mask_colors=image["mask_colors"],
            )
            for image in job[kind]
        ]
        damaged[kind] = engine.find_damaged(given)
        return [image for image in given if image.source_ref not in damaged[kind]]

    progress(0.0, "checking images")
    damaged: dict[str, dict[str, str]] = {}
    train, test = images("train"), images("test")
    _send(answers, {"damaged": damaged})
    given: dict[str, Any] = {role: Path(path) for role, path in job["graphs"].items()}
    if given:  # the service has limited its size
        given["onnx_bytes"] = max(path.stat().st_size for path in given.values())
    given |= job["options"]
    try:
        options, output = TrainingOptions(**given), Path(job["output"])
        outcome = engine.train(train, test, output, options=options, progress=progress)
        names = {image["source_ref"]: image["name"] for image in (*job["train"], *job["test"])}
        warnings = tuple(with_names(warning, names) for warning in outcome.warnings)
        outcome = replace(outcome, warnings=warnings)
        write_report(job, outcome)
    except TrainingError as error:
        return {"failed": str(error)}
    except OSError as error:
        if not is_disk_full(error):
            raise
        return {"failed": DISK_FULL}
    return {"trained": replace(outcome, findings=None)}


def _send(answers: IO[bytes], document: dict[str, Any]) -> None:
    answers.write(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    answers.flush()


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock would be held when the interpreter exits.
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
