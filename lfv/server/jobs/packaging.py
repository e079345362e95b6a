"""Runs model packaging jobs, which write models' archives to buckets."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from pathlib import Path

from lfv.server.archive import write_archive
from lfv.server.buckets import join_key
from lfv.server.database import Transaction
from lfv.server.errors import BucketError, NotFoundError
from lfv.server.home import DISK_FULL, is_disk_full
from lfv.server.jobs.context import JobContext
from lfv.server.lifecycle import PackagingStatus
from lfv.server.state import models, packaging
from lfv.server.state.models import Model
from lfv.server.state.packaging import PackagingJob
from lfv.server.write_retries import ServiceEndingError

_log = logging.getLogger(__name__)


def package(context: JobContext, job_id: int) -> None:
    """Run a job and set its status to SUCCEEDED, or to FAILED with the reason."""
    with suppress(ServiceEndingError):  # the service resumes the job when it starts again
        begun = context.record(
            lambda tx: _begin(context, tx, job_id), f"the start of packaging job {job_id}"
        )
        if begun is not None:
            status, message = _package(context, *begun)
            context.record(
                lambda tx: packaging.set_status(tx, job_id, status, message, context.clock()),
                f"status {status} of packaging job {begun[0].name}",
            )


def _begin(
    context: JobContext, tx: Transaction, job_id: int
) -> tuple[PackagingJob, Model | None] | None:
    job = next((job for job in packaging.unfinished(tx) if job.id == job_id), None)
    if job is None:
        return None
    model = models.find(tx, job.project_id, job.version)
    packaging.set_status(
        tx, job_id, PackagingStatus.RUNNING, "The model is being packaged.", context.clock()
    )
    return job, model


def _package(
    context: JobContext, job: PackagingJob, model: Model | None
) -> tuple[PackagingStatus, str]:
    if model is None:
        return PackagingStatus.FAILED, "The model was not packaged: it was deleted."
    try:
        where = _write(context, job, model)
    except (BucketError, NotFoundError, OSError) as error:
        why = DISK_FULL if is_disk_full(error) else error
        return PackagingStatus.FAILED, f"The model was not packaged: {why}"
    except Exception:  # noqa: BLE001 - any error must end the job
        _log.exception("packaging job %s failed", job.name)
        return PackagingStatus.FAILED, "The model was not packaged; the service's log says why."
    return PackagingStatus.SUCCEEDED, f"The model was packaged into {where}."


def _write(context: JobContext, job: PackagingJob, model: Model) -> str:
    component = job.configuration["Greengrass"]
    location = component["S3OutputLocation"]
    name = f"{component['ComponentName']}-{component['ComponentVersion']}.zip"
    key = join_key(location.get("Prefix"), name)
    context.home.packing.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.home.packing) as folder:
        archive = Path(folder) / "model.zip"
        write_archive(model, context.home.artifact(model.id), archive)
        context.buckets.write(location["Bucket"], key, archive)
    return f"s3://{location['Bucket']}/{key}"
