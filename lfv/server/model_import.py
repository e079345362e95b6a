"""Imports packaged models into a state folder that no service is using."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from lfv.formats.status import ModelStatus
from lfv.server.archive import ArchivedModel, read_archive
from lfv.server.database import Database
from lfv.server.errors import ArchiveError, NotFoundError
from lfv.server.home import Home
from lfv.server.options import ServeOptions
from lfv.server.state import models, projects
from lfv.server.state.models import Evaluation, NewModel

_log = logging.getLogger(__name__)


def import_models(options: ServeOptions, archives: Iterable[Path]) -> list[str]:
    """Import each archive as the next version of its project, and return ``PROJECT/VERSION`` names.

    An archive that was imported before is not imported again, so that a service can be started
    with the same archives every time. If its model was deleted since, its name is omitted.

    Raises ArchiveError for an unusable archive, and HomeError.
    """
    with closing(Home(options.home)) as home, closing(Database(home.database)) as database:
        names = [_import(options, home, database, archive) for archive in archives]
    return [name for name in names if name is not None]


def _import(options: ServeOptions, home: Home, database: Database, archive: Path) -> str | None:
    digest = _digest(archive)
    with database.transaction() as tx:
        known = models.imported(tx, digest)
    if known is not None:
        name, exists = known
        if exists:
            return name
        _log.warning(
            "%s is not imported again: it was imported as %s, which was deleted since",
            archive.name,
            name,
        )
        return None
    model_id = uuid4().hex
    archived = read_archive(archive, home.artifact(model_id))
    now = time.time()
    base = f"arn:aws:lookoutvision:{options.default_region}:{options.account_id}"
    with database.transaction() as tx:
        try:
            project = projects.get(tx, archived.project_name)
        except NotFoundError:
            arn = f"{base}:project/{archived.project_name}"
            project = projects.create(tx, archived.project_name, arn, now)
        version = projects.next_version(tx, project)
        model = models.create(
            tx,
            project,
            NewModel(
                id=model_id,
                version=version,
                arn=f"{base}:model/{project.name}/{version}",
                description=None,
                kms_key_id=None,
                output_bucket="imported",
                output_prefix=None,
                status=ModelStatus.TRAINED,
                message=f"Imported from {archive.name}, which was version {archived.version}.",
                archive_sha256=digest,
            ),
            now,
        )
        models.record_import(tx, digest, model)
        if (evaluation := _evaluation(archived, now)) is not None:
            models.set_evaluation(tx, model, evaluation)
    return model.name


def _evaluation(archived: ArchivedModel, now: float) -> Evaluation | None:
    figures = (archived.f1, archived.precision, archived.recall)
    return None if figures == (None, None, None) else Evaluation(*figures, now, None, None)


def _digest(archive: Path) -> str:
    try:
        with archive.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{archive} can't be read: {error.strerror}") from error
