"""Runs the background work of operations: hosting in the event loop, everything else in threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from lfv.formats.status import ModelStatus
from lfv.server.daemon_threads import Threads
from lfv.server.hosting.manager import HostingManager
from lfv.server.jobs import datasets as dataset_jobs
from lfv.server.jobs.context import JobContext
from lfv.server.jobs.packaging import package
from lfv.server.jobs.training import Trainings
from lfv.server.lifecycle import MODEL_TRANSITIONS, DatasetStatus, ModelEvent
from lfv.server.state import datasets, models, packaging
from lfv.server.write_retries import ServiceEndingError

_log = logging.getLogger(__name__)
#: Seconds for running jobs to finish when the service ends.
_LAST_SECONDS = 5.0


class BackgroundWork:
    """Starts work that continues after the response is sent, from any thread.

    A model's id is a string that is unique in the service; a packaging job's id is a row number.
    """

    def __init__(self, context: JobContext, hosting: HostingManager, engine: str) -> None:
        self.hosting = hosting
        self.trainings = Trainings(context, engine)
        self._context = context
        limits = context.limits
        # Reads from S3 may block for long, so they have separate threads. There is one thread for
        # each training and each packaging job that may run at once.
        self._datasets = Threads(2, "datasets")
        self._datasets_in_s3 = Threads(4, "datasets in S3")
        self._removal = Threads(1, "removal")
        self._training = Threads(limits.concurrent_trainings, "training")
        self._packing = Threads(limits.concurrent_packaging_jobs, "packaging")

    def process_dataset(self, project_id: int, kind: str) -> None:
        """Finish the creation or update of a dataset."""
        self._submit(self._datasets, self._process_dataset, project_id, kind)

    def _process_dataset(self, project_id: int, kind: str) -> None:
        dataset = self._context.record(
            lambda tx: datasets.find(tx, project_id, kind), f"a {kind} dataset is to be read"
        )
        source = None
        if dataset is not None and dataset.status == DatasetStatus.CREATE_IN_PROGRESS:
            source = dataset.source
        process = partial(dataset_jobs.run_job, self._context, project_id, kind)
        if source is None or self._context.buckets.is_folder(source.bucket):
            process()
        else:
            self._submit(self._datasets_in_s3, process)

    def train(self, model_id: str) -> None:
        self._submit(self._training, self.trainings.run, model_id)

    def remove_model(self, model_id: str) -> None:
        self._submit(self._removal, self._remove, model_id)

    def package(self, job_id: int) -> None:
        self._submit(self._packing, package, self._context, job_id)

    def resume(self, *, embedded: bool) -> None:
        """Resume the work that the previous service on this folder left unfinished."""
        event = ModelEvent.EMBEDDED_RESTARTED if embedded else ModelEvent.SERVICE_RESTARTED
        with self._context.database.transaction() as tx:
            known = models.every(tx)
            for model in known:
                if (model.status, event) in MODEL_TRANSITIONS:
                    moved = models.move(tx, model, event, _after_restart(model.status, event))
                    if moved.status == ModelStatus.TRAINED:
                        models.set_units(tx, moved, None, None)
            found = models.every(tx)
            unfinished_datasets = datasets.unfinished(tx)
            unfinished_jobs = packaging.unfinished(tx)
        self._context.home.remove_unknown_models({model.id for model in known})
        for dataset in unfinished_datasets:
            self.process_dataset(dataset.project_id, dataset.kind)
        for job in unfinished_jobs:
            self.package(job.id)
        for model in found:
            if model.status == ModelStatus.TRAINING:
                self.train(model.id)
            elif model.status == ModelStatus.DELETING:
                self.remove_model(model.id)
            elif model.status.is_coming_up:
                self.hosting.host(model.id)

    def close(self) -> None:
        """Stop all work in bounded time. The next service continues what is left."""
        self._context.stopping.set()
        self.trainings.end_all()
        pools = (self._datasets, self._datasets_in_s3, self._removal, self._training, self._packing)
        for pool in pools:
            pool.close()
        ends = time.monotonic() + _LAST_SECONDS
        for pool in pools:
            if not pool.wait(max(0.0, ends - time.monotonic())):
                _log.warning(
                    "%s: unfinished jobs continue at the next start of the service", pool.name
                )

    def _remove(self, model_id: str) -> None:
        self._context.home.remove_model(model_id)
        self._context.record(lambda tx: models.remove(tx, model_id), f"model {model_id}: deleted")

    def _submit(self, pool: Threads, job: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                job(*arguments)
            except ServiceEndingError:
                _log.info("%s: a job continues at the next start of the service", pool.name)
            except Exception:  # noqa: BLE001 (a job has no caller that could handle it)
                _log.exception("%s: a job failed", pool.name)

        try:
            pool.submit(run)
        except RuntimeError:
            _log.info("%s: a job continues at the next start of the service", pool.name)


def _after_restart(status: ModelStatus, event: ModelEvent) -> str:
    if status == ModelStatus.TRAINING:
        return (
            "Training failed: the service ended during training."
            if event == ModelEvent.EMBEDDED_RESTARTED
            else "Training starts again because the service was restarted."
        )
    if MODEL_TRANSITIONS[status, event] == ModelStatus.TRAINED:
        return "The model is trained and not running."
    return "The model is starting again because the service was restarted."
