"""Package a model version into a file, for `lfv edge-agent` or another service."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lfv.client.errors import ModelNotFound
from lfv.client.hosts import HostSpec, open_host
from lfv.client.packaging import package_model
from lfv.formats.host_kinds import LOOKOUTVISION
from lfv.run.active import open_reader
from lfv.run.embedded_service import api_endpoint
from lfv.run.models.training import api_client, staging_place
from lfv.settings import LfvSettingsError, Settings

_TIMEOUT_SECONDS = 600.0


def package_project(
    settings: Settings,
    project: str,
    version: str,
    file: Path | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[str, Path]:
    """Have the service package a model version, and fetch the archive from the bucket.

    Args:
        settings: Name the service, and the bucket to which it writes the archive.
        project: Name of the project.
        version: A version, or `latest` for the newest trained one.
        file: The file to write, in an existing folder; by default `PROJECT-VERSION.zip` in the
            current one.
        progress: Called with the current activity.

    Returns:
        The model version, and the file.

    Raises:
        LfvSettingsError: The host packages no models, or there is no bucket.
        ServiceNotStarted: The embedded service did not start.
        lfv.client.errors.ModelNotFound: There is no such version.
        lfv.formats.errors.LfvError: The service or the bucket refused.
        OSError: The file cannot be written.
    """
    if settings.host != LOOKOUTVISION:
        raise LfvSettingsError(
            f"models on host {settings.host} cannot be packaged; unset LFV_HOST for those that "
            "`lfv train` made on this machine"
        )
    staging = staging_place(settings, purpose="to write the archive to")
    progress("starting the service" if settings.endpoint_url is None else "connecting")
    with api_endpoint(settings) as url, open_reader(settings) as reader:
        host = open_host(HostSpec(LOOKOUTVISION, project, version, url, settings.region))
        host.close()
        version = host.spec.model_version
        if not version.isdecimal():
            raise ModelNotFound(f"Project {project} has no version {version!r}.")
        progress(f"packaging version {version}")
        with api_client(settings, url) as client:
            archive = package_model(client, project, version, staging, timeout=_TIMEOUT_SECONDS)
        file = file or Path(f"{project}-{version}.zip")
        unfinished = file.with_name(f".{file.name}.part")
        try:
            with (
                reader.bucket(archive.bucket).open(archive.key) as found,
                unfinished.open("wb") as target,
            ):
                shutil.copyfileobj(found.stream, target)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        if (folder := settings.bucket_folders.get(archive.bucket)) is not None:
            (folder / archive.key).unlink(missing_ok=True)
    return version, file
