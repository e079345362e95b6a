"""A model's training: fetch its images, train in a process of its own, publish the evaluation."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from lfv_server.errors import BucketError, NotFoundError
from lfv_server.jobs.context import JobContext, ServiceEndingError
from lfv_server.jobs.evaluation import publish, write_evaluation
from lfv_server.jobs.fetch import Fetched, FetchedImage, fetch
from lfv_server.state import models
from lfv_server.state.models import Evaluation, Model
from lfv_server.states import ModelEvent, ModelStatus

_log = logging.getLogger(__name__)

_KINDS = ("train", "test")
_MAX_STARTS = 3
_MAX_LOST = 0.2
"""Share of the images that may be missing or unusable; with more, training fails."""


class _FailedError(Exception):
    """The training can't succeed; the message says why."""


class Trainings:
    """Runs trainings, each in the thread that calls ``run``, and can end them all."""

    def __init__(self, context: JobContext, engine: str) -> None:
        self._context = context
        self._engine = engine
        self._lock = threading.Lock()
        self._progress: dict[str, str] = {}
        self._processes: set[subprocess.Popen[bytes]] = set()

    def prepare(self, model_id: str, lines: Mapping[str, Sequence[str]]) -> None:
        """Keep the JSON lines to train on until ``run`` is through with them."""
        folder = self._context.home.job(model_id)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            (folder / f"{kind}.jsonl").write_text(
                "".join(f"{line}\n" for line in lines[kind]), encoding="utf-8"
            )

    def progress(self, model_id: str) -> str | None:
        return self._progress.get(model_id)

    def run(self, model_id: str) -> None:
        """Train until TRAINED or TRAINING_FAILED; left as it is if the service ends meanwhile."""
        context = self._context
        try:
            with context.database.transaction() as tx:
                model = models.by_id(tx, model_id)
                if model.status != ModelStatus.TRAINING:
                    return
                starts = models.count_training_start(tx, model_id)
            self._train(model, starts)
        except (ServiceEndingError, NotFoundError):
            return
        except _FailedError as error:
            self._end(model_id, ModelEvent.TRAINING_BROKE, f"Training failed: {error}")
        except Exception:  # noqa: BLE001 (whatever it is, the model must not stay in TRAINING)
            _log.exception("training of model %s", model_id)
            self._end(
                model_id, ModelEvent.TRAINING_BROKE, "Training failed; the service's log says why."
            )
        finally:
            self._progress.pop(model_id, None)
        shutil.rmtree(context.home.job(model_id), ignore_errors=True)

    def end_all(self) -> None:
        with self._lock:
            for process in self._processes:
                _kill(process)

    def _train(self, model: Model, starts: int) -> None:
        if starts > _MAX_STARTS:
            raise _FailedError(f"it was cut off {_MAX_STARTS} times by the service's end")
        context = self._context
        folder = context.home.job(model.id)
        self._progress[model.id] = "Training: 0 %, fetching images"
        fetched = {kind: self._fetch(folder, kind) for kind in _KINDS}
        artifact = context.home.artifact(model.id)
        shutil.rmtree(artifact, ignore_errors=True)
        job = {
            "engine": self._engine,
            "output": str(artifact),
            "network": context.network,
            "graphs": {role: str(path) for role, path in context.graphs.items()},
            **{kind: [_described(image) for image in fetched[kind].images] for kind in _KINDS},
        }
        job_file = folder / "job.json"
        job_file.write_bytes(orjson.dumps(job))
        trained = self._process(model, job_file)
        lines = {image.source_ref: image.line for kind in _KINDS for image in fetched[kind].images}
        ended = context.clock()
        files = write_evaluation(context.home.evaluation(model.id), model, lines, trained, ended)
        keys: tuple[str | None, str | None] = (None, None)
        notes = [*trained["warnings"], *(_lost(kind, fetched[kind]) for kind in _KINDS)]
        try:
            keys = publish(context.buckets, model, *files, artifact / "report")
        except BucketError as error:
            notes.append(f"The evaluation files could not be written: {error}.")
        evaluation = Evaluation(
            trained["f1"], trained["precision"], trained["recall"], ended, *keys
        )
        message = " ".join(["Training completed.", *filter(None, notes)])
        self._end(model.id, ModelEvent.TRAINING_ENDED, message, evaluation)

    def _fetch(self, folder: Path, kind: str) -> Fetched:
        lines = (folder / f"{kind}.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        fetched = fetch(self._context, lines, folder / "images" / kind)
        if len(fetched.problems) > _MAX_LOST * len(lines):
            told = "; ".join(fetched.problems[:3])
            raise _FailedError(
                f"{len(fetched.problems)} of {len(lines)} images of the {kind} dataset can't be"
                f" used: {told}"
            )
        return fetched

    def _process(self, model: Model, job_file: Path) -> dict[str, Any]:
        """Run the trainer. Raises _FailedError, or ServiceEndingError if it was ended."""
        command = [sys.executable, "-m", "lfv_server.jobs.trainer", str(job_file)]
        with self._lock:
            if self._context.stopping.is_set():
                raise ServiceEndingError
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C in the terminal is the service's to handle
            )
            self._processes.add(process)
        outcome: dict[str, Any] = {}
        try:
            assert process.stdout is not None  # noqa: S101 (it is a pipe)
            for line in process.stdout:
                outcome = orjson.loads(line)
                if "progress" in outcome:
                    percent = round(100 * outcome["progress"])
                    self._progress[model.id] = f"Training: {percent} %, {outcome['what']}"
            code = process.wait()
        finally:
            with self._lock:
                self._processes.discard(process)
            _kill(process)
            process.communicate()
        if self._context.stopping.is_set():
            raise ServiceEndingError
        if "trained" in outcome:
            trained: dict[str, Any] = outcome["trained"]
            return trained
        if "failed" in outcome:
            raise _FailedError(outcome["failed"])
        _log.error("the trainer of model %s ended with %s", model.name, code)
        why = f"by signal {-code}, perhaps for lack of memory" if code < 0 else f"with code {code}"
        raise _FailedError(f"its process ended {why}")

    def _end(
        self, model_id: str, event: ModelEvent, message: str, evaluation: Evaluation | None = None
    ) -> None:
        with self._context.database.transaction() as tx:
            model = models.move(tx, models.by_id(tx, model_id), event, message)
            if evaluation is not None:
                models.set_evaluation(tx, model, evaluation)
        _log.info("model %s: %s %s", model.name, model.status, message)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the trainer and all that it started: it leads a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _described(image: FetchedImage) -> dict[str, Any]:
    return {
        "source_ref": image.source_ref,
        "path": str(image.path),
        "is_anomalous": image.is_anomalous,
        "mask_path": str(image.mask_path) if image.mask_path else None,
        "mask_colors": image.mask_colors,
    }


def _lost(kind: str, fetched: Fetched) -> str:
    if not fetched.problems:
        return ""
    told = "; ".join(fetched.problems[:3])
    return f"{len(fetched.problems)} images of the {kind} dataset were not used: {told}."
