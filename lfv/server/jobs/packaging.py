"""A model packaging job, which writes the model's archive to a bucket."""

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
from lfv.server.recording import ServiceEndingError
from lfv.server.state import models, packaging
from lfv.server.state.models import Model
from lfv.server.state.packaging import PackagingJob

_log = logging.getLogger(__name__)


def package(context: JobContext, job_id: int) -> None:
    """Run the job: it becomes SUCCEEDED, or FAILED with the reason."""
    with suppress(ServiceEndingError):  # the next service continues it
        begun = context.record(
            lambda tx: _begin(context, tx, job_id), f"packaging job {job_id}: it begins"
        )
        if begun is not None:
            status, message = _packaged(context, *begun)
            context.record(
                lambda tx: packaging.set_status(tx, job_id, status, message, context.clock()),
                f"packaging job {begun[0].name}: {status}",
            )


def _begin(
    context: JobContext, tx: Transaction, job_id: int
) -> tuple[PackagingJob, Model | None] | None:
    job = next((job for job in packaging.unfinished(tx) if job.id == job_id), None)
    if job is None:
        return None
    model = next(
        (
            model
            for model in models.every(tx)
            if (model.project_id, model.version) == (job.project_id, job.version)
        ),
        None,
    )
    packaging.set_status(
        tx, job_id, PackagingStatus.RUNNING, "The model is being packaged.", context.clock()
    )
    return job, model


def _packaged(
    context: JobContext, job: PackagingJob, model: Model | None
) -> tuple[PackagingStatus, str]:
    try:
        if model is None:
            raise NotFoundError("the model was deleted", str(job.version), "MODEL")  # noqa: TRY301
        where = _write(context, job, model)
    except (BucketError, NotFoundError, OSError) as error:
        why = DISK_FULL if is_disk_full(error) else error
        return PackagingStatus.FAILED, f"The model was not packaged: {why}"
    except Exception:  # noqa: BLE001 (whatever it is, the job must come to an end)
        _log.exception("packaging job %s", job.name)
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
