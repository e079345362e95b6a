"""Trains models: fetches images, trains in a separate process and publishes the evaluation."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from lfv.formats.status import ModelStatus
from lfv.formats.training_request import TrainingRequest
from lfv.formats.words import count_of, form_of
from lfv.server.database import Transaction
from lfv.server.errors import BucketError, NotFoundError
from lfv.server.home import DISK_FULL, is_disk_full
from lfv.server.jobs.context import JobContext
from lfv.server.jobs.image_names import names_in, user_name, with_names
from lfv.server.jobs.training_images import Fetched, FetchedImage, NoSpaceError, fetch
from lfv.server.jobs.training_options import options_of_training, store_request
from lfv.server.jobs.training_outputs import publish, write_evaluation
from lfv.server.jobs.training_report import FOLDER
from lfv.server.lifecycle import ModelEvent
from lfv.server.state import models
from lfv.server.state.models import Evaluation, Model
from lfv.server.write_retries import ServiceEndingError

_log = logging.getLogger(__name__)

_KINDS = ("train", "test")
_MAX_STARTS = 3
_MOST_PROBLEMS = 3
#: Share of the images that may be missing or unusable; with more, training fails.
_MAX_LOST = 0.2


class _FailedError(Exception):
    """The training cannot succeed; the message has the reason."""


@dataclass(frozen=True)
class _End:
    """The result of a training, to be recorded for its model."""

    event: ModelEvent
    message: str
    evaluation: Evaluation | None = None
    remarks: str = ""


class Trainings:
    """Runs trainings, each in the thread that calls ``run``, and can end them all."""

    def __init__(self, context: JobContext, engine: str) -> None:
        self._context = context
        self._engine = engine
        self._lock = threading.Lock()
        self._progress: dict[str, str] = {}
        self._processes: set[subprocess.Popen[bytes]] = set()

    def prepare(
        self, model_id: str, lines: Mapping[str, Sequence[str]], request: TrainingRequest
    ) -> None:
        """Store a training's JSON lines and options until ``run`` has used them.

        ``lines`` has an item for each existing dataset, even if no image is labelled. Raises
        ValidationError if this service cannot train as requested.
        """
        folder = self._context.home.job(model_id)
        folder.mkdir(parents=True, exist_ok=True)
        store_request(self._context, request, folder)
        for kind, labelled in lines.items():
            (folder / f"{kind}.jsonl").write_text(
                "".join(f"{line}\n" for line in labelled), encoding="utf-8"
            )

    def progress(self, model_id: str) -> str | None:
        return self._progress.get(model_id)

    def run(self, model_id: str) -> None:
        """Train until the model is TRAINED or TRAINING_FAILED, or until the service ends."""
        context = self._context
        try:
            begun = context.record(
                lambda tx: _begin(tx, model_id), f"model {model_id}: training begins"
            )
            if begun is None:
                return
            end = self._outcome(*begun)
            self._make_room(model_id, end)
            context.record(lambda tx: _end(tx, model_id, end), f"model {model_id}: {end.event}")
        except (ServiceEndingError, NotFoundError):
            return
        finally:
            self._progress.pop(model_id, None)
        shutil.rmtree(context.home.job(model_id), ignore_errors=True)

    def _outcome(self, model: Model, starts: int) -> _End:
        """Train and return the result, also after an error. Raises ServiceEndingError only."""
        try:
            end = self._train(model, starts)
        except ServiceEndingError:
            raise
        except (_FailedError, NoSpaceError) as error:
            end = _End(ModelEvent.TRAINING_BROKE, f"Training failed: {error}")
        except Exception as error:  # noqa: BLE001 (any error must end the training)
            _log.exception("training of model %s", model.name)
            message = "Training failed; the service's log says why."
            if is_disk_full(error):
                message = f"Training failed: {DISK_FULL}"
            end = _End(ModelEvent.TRAINING_BROKE, message)
        folder = self._context.home.job(model.id)
        names = names_in(folder / f"{kind}.jsonl" for kind in _KINDS)
        _log.info("model %s: %s", model.name, end.message)
        return replace(
            end, message=with_names(end.message, names), remarks=with_names(end.remarks, names)
        )

    def _make_room(self, model_id: str, end: _End) -> None:
        """Remove unneeded files before the end is recorded, which needs space on the disk.

        The JSON lines stay until the end is recorded, because the next service repeats the
        training from them if this one ends first.
        """
        home = self._context.home
        if end.event == ModelEvent.TRAINING_BROKE:
            home.remove_model(model_id)
        else:
            shutil.rmtree(home.job_images(model_id), ignore_errors=True)

    def end_all(self) -> None:
        with self._lock:
            for process in self._processes:
                _kill(process)

    def _train(self, model: Model, starts: int) -> _End:
        if starts > _MAX_STARTS:
            raise _FailedError(f"it was interrupted {_MAX_STARTS} times because the service ended")
        context = self._context
        folder = context.home.job(model.id)
        if not (folder / "train.jsonl").is_file():
            raise _FailedError("it had failed already when the service ended; its log says why")
        self._progress[model.id] = "Training: 0 %, fetching images"
        fetched = {kind: self._fetch(model, folder, kind) for kind in _KINDS}
        artifact = context.home.artifact(model.id)
        shutil.rmtree(artifact, ignore_errors=True)
        job = {
            "engine": self._engine,
            "output": str(artifact),
            "project": model.project_name,
            "version": model.version,
            **options_of_training(context, folder),
            **{kind: [_describe(image) for image in fetched[kind].images] for kind in _KINDS},
        }
        job_file = folder / "job.json"
        job_file.write_bytes(orjson.dumps(job))
        trained = self._process(model, job_file, fetched)
        fetched = {kind: fetched[kind].without(trained["damaged"].get(kind, {})) for kind in _KINDS}
        lines = {image.source_ref: image.line for kind in _KINDS for image in fetched[kind].images}
        ended = context.clock()
        files = write_evaluation(context.home.evaluation(model.id), model, lines, trained, ended)
        keys: tuple[str | None, str | None] = (None, None)
        notes = [
            *trained["warnings"],
            *_reliability_remarks(
                fetched["train"], fetched["test"], (folder / "test.jsonl").is_file()
            ),
            *(_lost(kind, fetched[kind]) for kind in _KINDS),
        ]
        try:
            keys = publish(context.buckets, model, *files, artifact / FOLDER)
        except BucketError as error:
            notes.append(f"The evaluation files could not be written: {error}.")
        figures = (trained["f1"], trained["precision"], trained["recall"])
        evaluation = Evaluation(*figures, ended, *keys)
        remarks = " ".join(filter(None, notes))
        return _End(ModelEvent.TRAINING_ENDED, "Training completed.", evaluation, remarks)

    def _fetch(self, model: Model, folder: Path, kind: str) -> Fetched:
        file = folder / f"{kind}.jsonl"
        lines = []
        if file.is_file():
            lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        fetched = fetch(self._context, lines, self._context.home.job_images(model.id) / kind)
        _check_lost(kind, fetched)
        return fetched

    def _process(
        self, model: Model, job_file: Path, fetched: Mapping[str, Fetched]
    ) -> dict[str, Any]:
        """Run the trainer. Raises _FailedError, or ServiceEndingError if the service ends."""
        command = [sys.executable, "-m", "lfv.server.jobs.training_process", str(job_file)]
        with self._lock:
            if self._context.stopping.is_set():
                raise ServiceEndingError
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is for the service
            )
            self._processes.add(process)
        outcome: dict[str, Any] = {}
        damaged: dict[str, dict[str, str]] = {}
        try:
            assert process.stdout is not None  # noqa: S101 (it is a pipe)
            for line in process.stdout:
                outcome = orjson.loads(line)
                if "damaged" in outcome:
                    damaged = outcome["damaged"]
                    for kind, found in damaged.items():
                        _check_lost(kind, fetched[kind].without(found))
                elif "progress" in outcome:
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
            return {**outcome["trained"], "damaged": damaged}
        if "failed" in outcome:
            raise _FailedError(outcome["failed"])
        _log.error("the trainer of model %s ended with %s", model.name, code)
        why = f"by signal {-code}, perhaps for lack of memory" if code < 0 else f"with code {code}"
        raise _FailedError(f"its process ended {why}")


def _begin(tx: Transaction, model_id: str) -> tuple[Model, int] | None:
    """Return the model and how often its training was started; None if it is not TRAINING."""
    model = models.by_id(tx, model_id)
    if model.status != ModelStatus.TRAINING:
        return None
    return model, models.count_training_start(tx, model_id)


def _end(tx: Transaction, model_id: str, end: _End) -> None:
    model = models.move(tx, models.by_id(tx, model_id), end.event, end.message)
    if end.evaluation is not None:
        models.set_evaluation(tx, model, end.evaluation)
    models.set_training_remarks(tx, model, end.remarks)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the trainer's process group, which includes all processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _describe(image: FetchedImage) -> dict[str, Any]:
    return {
        "source_ref": image.source_ref,
        "name": user_name(image.line)[1],
        "path": str(image.path),
        "is_anomalous": image.is_anomalous,
        "mask_path": str(image.mask_path) if image.mask_path else None,
        "mask_colors": image.mask_colors,
    }


def _check_lost(kind: str, fetched: Fetched) -> None:
    lost, count = len(fetched.problems), len(fetched.problems) + len(fetched.images)
    if lost > _MAX_LOST * count:
        raise _FailedError(
            f"{lost} of {count_of(count, 'image')} of the {kind} dataset can't be used: "
            f"{_list_problems(fetched)}"
        )


def _lost(kind: str, fetched: Fetched) -> str:
    if not fetched.problems:
        return ""
    unused = f"{count_of(len(fetched.problems), 'image')} of the {kind} dataset"
    return f"{unused} could not be used: {_list_problems(fetched)}."


def _list_problems(fetched: Fetched) -> str:
    return "; ".join(fetched.problems[:_MOST_PROBLEMS])


def _reliability_remarks(train: Fetched, test: Fetched, has_test: bool) -> Iterator[str]:
    """Yield remarks on how reliable the figures are."""
    if has_test and not test.images:
        yield (
            "The test dataset has no labelled image, so the figures come from cross-validation on"
            " the train dataset."
        )
    refs = {image.source_ref for image in train.images}
    digests = {image.sha256 for image in train.images}
    both = sum(image.source_ref in refs or image.sha256 in digests for image in test.images)
    if both:
        yield (
            f"{both} of the {len(test.images)} test images {form_of(both, 'is', 'are')} in the"
            " train dataset too, so the figures are better than they would be on new images."
        )
