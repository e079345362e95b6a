"""Detection by batch transform jobs: images go to S3, answers come from S3, without an endpoint.

A job accepts images of one content type, so PNG and JPEG files need two jobs, one after the other.
A run holds a job like a model: the intent is recorded before the job is created, the guard and the
sweeper know about it, and it is stopped however the run ends. Answers are stored as they appear.
The next attempt of the run stops a job that is still running and takes its answers, so that no
image is paid for twice.

A job continues when an image fails, and ends as failed. The images it left go to another job as
long as jobs produce answers. Images left by a job without any answer are recorded as errors if
other images of the run were answered; otherwise the run ends and can be resumed.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from lfv.client.clock import Backoff
from lfv.client.errors import HostError, HostRejected
from lfv.client.hosts import HostSpec
from lfv.client.hosts.sagemaker.answers import parse_answer
from lfv.client.hosts.sagemaker.batch import RUNNING, BatchJobHost, check_job
from lfv.client.staging import Staging
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import (
    CredentialsRefused,
    LfvError,
    ResponseInvalid,
    SourceError,
    SourceNotFound,
)
from lfv.formats.host_kinds import BATCH_JOB
from lfv.formats.images import CONTENT_TYPES, ENDINGS
from lfv.formats.refs import S3Ref
from lfv.formats.words import count_of
from lfv.run import inspection_records
from lfv.run.active import ActiveRun
from lfv.run.control import Ending
from lfv.run.hosting.hold import HoldTarget, ModelHold
from lfv.run.hosting.release import end_earlier
from lfv.run.modes import check_mode
from lfv_store import ModelKey, NewDetection, NewInspection, PendingItem, StoreError

logger = logging.getLogger(__name__)

#: Maximum number of images in one job.
MOST_IMAGES = 50_000
_PAGE = 1_000
_THREADS = 8
_POLL = Backoff(0.5, 1.3, 20.0)
_MAX_ANSWER = 16 * 1024 * 1024
_PREFIX = "batch"


def detect_in_batches(run: ActiveRun) -> None:
    """Answer every pending image by jobs; return early if the run ends.

    Raises LfvSettingsError as `check_mode` does, because a resumed run may have other settings.
    """
    request = run.context.request
    check_mode(request.mode, request.host, run.settings)
    batches = _Batches(run)
    run.control.expect(run.store.inspections.counts(run.run_id).pending)
    try:
        batches.collect_earlier()
        while not run.control.stop.is_set() and (items := batches.next_items()):
            batches.run_job(items)
    except StoreError as error:
        run.control.end(Ending.STORE, f"results cannot be stored: {error}")
    except SourceError as error:
        run.control.end(Ending.OUT_OF_REACH, str(error))


class _Batches:
    def __init__(self, run: ActiveRun) -> None:
        self.run = run
        self.control = run.control
        self.policy = run.context.parsed_policy()
        uri = run.settings.staging_uri or ""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self.staging = Staging(bucket, prefix.rstrip("/") + "/" if prefix else "")
        self.bucket = run.reader.bucket(bucket)
        self.answered = 0

    def next_items(self) -> list[PendingItem]:
        """Return the images for the next job, all of one format."""
        items = self._all_pending()
        first = next(items, None)
        if first is None:
            return []
        same_format = (item for item in items if item.image.format == first.image.format)
        return [first, *islice(same_format, MOST_IMAGES - 1)]

    def collect_earlier(self) -> None:
        """Collect the answers of this run's earlier jobs, however they ended.

        Stops a job that is still running first, because its images would be paid for twice.
        Raises HostError and HostingError if the job is not seen stopped.
        """
        jobs = [
            hosting
            for hosting in self.run.store.hostings.of_run(self.run.run_id)
            if hosting.host_spec.get("kind") == BATCH_JOB
        ]
        if not jobs:
            return
        for job in jobs:
            if not job.is_over:
                self.control.notify("model", "stopping the job of an earlier attempt")
                end_earlier(
                    self.run.store,
                    job,
                    deadline_seconds=self.run.settings.stopping_deadline_seconds,
                    stop_event=self.control.stop,
                )
        waiting = {item.image.sha256: item for item in self._all_pending()}
        for job in jobs:
            self._collect(str(job.host_spec["options"]["output"]), waiting, set())

    def run_job(self, items: Sequence[PendingItem]) -> None:
        """Run one job, from staging its images to its end."""
        check_job(self.run.context.host_spec)  # copying the images costs time and money
        self.control.notify(
            "model", f"copying {count_of(len(items), 'image')} to {self.staging.bucket}"
        )
        staged = self._stage(items)
        if not staged or self.control.stop.is_set():
            return
        waiting = {item.image.sha256: item for item in staged}
        before = self.answered
        with self._job(staged) as (spec, host):
            output = str(spec.options["output"])
            held = HoldTarget(self._register(spec), host, spec)
            with ModelHold(self.run, held) as hold:
                hold.acquire()
                failure = self._follow(host, output, waiting)
            self._collect(output, waiting, set())  # what a stopped job had finished
        logger.info("job %s: %s answers", spec.options["job"], self.answered - before)
        if waiting and not self.control.stop.is_set() and self.answered == before:
            self._settle(list(waiting.values()), str(spec.options["job"]), failure)

    def _register(self, spec: HostSpec) -> int:
        """Register the job like a model, and return its id."""
        arn = self.run.store.models.get(self.run.context.model_id).key.model_arn
        version = f"transform-job/{spec.options['job']}"
        head = arn.rpartition(":")[0]
        key = ModelKey(BATCH_JOB, f"{head}:{version}", self.run.context.request.project, version)
        return self.run.store.models.register(key)

    def _follow(self, host: BatchJobHost, output: str, waiting: dict[str, PendingItem]) -> str:
        """Collect answers until the job or the run ends; return why the job failed, if it did."""
        seen: set[str] = set()
        looks = 0
        while True:
            try:
                job = host.job()
            except HostError as error:
                if not error.retryable:
                    raise
                logger.warning("the job's status cannot be read: %s", error)
            else:
                found = self._collect(output, waiting, seen)
                looks = 1 if found else looks + 1
                if job.status not in RUNNING:
                    return job.failure
                self.control.notify("model", f"job {host.spec.options['job']} is running")
            if self.control.stop.wait(_POLL.seconds(max(1, looks))):
                return ""

    def _settle(self, left: Sequence[PendingItem], job: str, failure: str) -> None:
        """Settle the images left by a job that gave no answer."""
        why = failure.rstrip(".") or "no reason was given"
        if not self._has_answer():
            self.control.end(Ending.OUT_OF_REACH, f"job {job} answered no image ({why})")
            return
        error = HostRejected(f"Batch job {job} gave no answer for this image: {why}.")
        self._record([inspection_records.record_failure(item, error, 1) for item in left])

    def _has_answer(self) -> bool:
        """Whether the model has answered any image of this run."""
        if self.answered:
            return True
        return next(iter(self.run.store.verdicts.candidates(self.run.run_id)), None) is not None

    # -- images to S3 --

    def _stage(self, items: Sequence[PendingItem]) -> list[PendingItem]:
        """Copy images to S3, named by their content; return those that were copied."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="staging") as pool:
            problems = list(pool.map(self._copy, items))
        failed = [
            inspection_records.record_failure(item, problem, 0)
            for item, problem in zip(items, problems, strict=True)
            if problem is not None
        ]
        self._record(failed)
        return [item for item, problem in zip(items, problems, strict=True) if problem is None]

    def _copy(self, item: PendingItem) -> LfvError | None:
        """Copy an image; return why it cannot be copied, if so. Raises the bucket's SourceError."""
        if self.control.stop.is_set():
            return None
        key = self._image_key(item)
        if self.bucket.size_of(key) == item.image.size_bytes:
            return None
        try:
            body = self.run.read_checked(item)
        except SourceError as error:
            if error.retryable or isinstance(error, CredentialsRefused):
                raise
            return error
        self.bucket.put(key, body)
        return None

    def _image_key(self, item: PendingItem) -> str:
        name = f"{item.image.sha256}{ENDINGS[item.image.format]}"
        return self.staging.key(_PREFIX, "images", name)

    @contextmanager
    def _job(self, items: Sequence[PendingItem]) -> Iterator[tuple[HostSpec, BatchJobHost]]:
        """Yield the job for these images, not created yet."""
        run = self.run
        project = run.context.request.project[:30].rstrip("-")
        name = f"lfv-{project}-{run.run_id[:8]}-{uuid.uuid4().hex[:8]}"
        folder = self.staging.key(_PREFIX, "jobs", name)
        images = f"s3://{self.staging.bucket}/{self.staging.key(_PREFIX, 'images')}/"
        names = [self._image_key(item).rpartition("/")[2] for item in items]
        manifest = f"{folder}/images.json"
        self.bucket.put(manifest, json.dumps([{"prefix": images}, *names]).encode())
        spec = run.context.host_spec
        spec = replace(
            spec,
            kind=BATCH_JOB,
            options={
                **spec.options,
                "job": name,
                "input": str(S3Ref(self.staging.bucket, manifest)),
                "output": f"s3://{self.staging.bucket}/{folder}/answers/",
                "content_type": CONTENT_TYPES[items[0].image.format],
            },
        )
        with closing(BatchJobHost(spec)) as host:
            yield spec, host

    # -- answers from S3 --

    def _all_pending(self) -> Iterator[PendingItem]:
        after = 0
        while page := self.run.store.inspections.pending(
            self.run.run_id, after_line=after, limit=_PAGE
        ):
            after = page[-1].line_number
            yield from page

    def _collect(self, output: str, waiting: dict[str, PendingItem], seen: set[str]) -> int:
        """Record the expected answers below `output`; return their number."""
        prefix = S3Ref(*output.removeprefix("s3://").split("/", 1))
        keys: dict[str, str] = {}
        try:
            for key in self.run.reader.bucket(prefix.bucket).list(prefix.key):
                digest = key.rpartition("/")[2].partition(".")[0]
                if key.endswith(".out") and key not in seen and digest in waiting:
                    keys[key] = digest
        except SourceNotFound:
            return 0  # nothing was written yet
        found = 0
        read = partial(self.run.reader.read_bytes, limit=_MAX_ANSWER)
        for start in range(0, len(keys), _PAGE):
            part = list(keys)[start : start + _PAGE]
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="answers") as pool:
                refs = (S3Ref(prefix.bucket, key) for key in part)
                bodies = list(pool.map(read, refs))
            taken = [
                self._outcome(waiting[keys[key]], key, body)
                for key, body in zip(part, bodies, strict=True)
            ]
            self._record(taken)
            seen.update(part)
            for key in part:
                waiting.pop(keys[key], None)
            self.answered += sum(inspection.error_code is None for inspection in taken)
            found += len(taken)
        return found

    def _outcome(self, item: PendingItem, key: str, body: bytes) -> NewInspection:
        try:
            result: DetectAnomalyResult = parse_answer(body)
        except ResponseInvalid as error:
            return inspection_records.record_failure(item, error, 1)
        self.control.count_answer()
        new = NewDetection(
            model_id=self.run.context.model_id,
            image_sha256=item.image.sha256,
            response=result.to_response(),
            detected_at=datetime.now(UTC),
            mask_png=result.anomaly_mask,
            request_id=_request_id(key),
        )
        return inspection_records.record_answer(item, new, self.policy)

    def _record(self, inspections: Sequence[NewInspection]) -> None:
        if inspections:
            self.run.store.inspections.record(self.run.run_id, inspections)
            self.control.advance(len(inspections))


def _request_id(key: str) -> str:
    """Return the request id of an answer: its job's name, from the answer's key."""
    parts = key.split("/")
    return f"transform-job/{parts[parts.index('answers') - 1]}"
