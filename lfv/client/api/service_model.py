"""Locates and reads the service model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from botocore.loaders import Loader
from botocore.model import ServiceModel

SERVICE_NAME = "lookoutvision"
API_VERSION = "2020-11-20"
#: A botocore data folder, for a loader's search paths or ``AWS_DATA_PATH``.
DATA_PATH = Path(__file__).parent / "data"


@cache
def service_model() -> ServiceModel:
    """Return the parsed service model, which is read once per process."""
    loader = Loader(extra_search_paths=[str(DATA_PATH)], include_default_search_paths=False)
    description = loader.load_service_model(SERVICE_NAME, "service-2", API_VERSION)
    return ServiceModel(description, SERVICE_NAME)
