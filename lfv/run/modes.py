"""How images are sent to the model: one by one, or as a job.

A command checks the mode before Prefect's server starts, so this module imports nothing heavy.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from lfv.formats.host_kinds import SAGEMAKER

if TYPE_CHECKING:
    from lfv.settings import Settings


class InspectionMode(StrEnum):
    """How images are sent to the model."""

    LIVE = "live"
    BATCH = "batch"


def check_mode(mode: str, host: str, settings: Settings) -> None:
    """Raise LfvSettingsError if batch mode is impossible, before anything is started."""
    from lfv.settings import LfvSettingsError

    if mode != InspectionMode.BATCH:
        return
    if host != SAGEMAKER:
        raise LfvSettingsError(f"--mode batch is for --host {SAGEMAKER}, not {host}")
    if settings.staging_uri is None:
        raise LfvSettingsError(
            "a batch job reads the images from a bucket: name one with --staging "
            "s3://BUCKET/PREFIX or LFV_STAGING_URI"
        )
