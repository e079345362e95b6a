"""A training's options in the settings, as a request to the service on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lfv.formats.training_request import NEEDS_TORCH, TrainingRequest
from lfv.onnx_files import OnnxFileRefused, accept_onnx_file
from lfv.run.embedded_service import ServicePlaces, is_embedded, training_options_taken
from lfv.run.errors import ServiceNotStarted
from lfv.settings import LfvSettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from lfv.settings import Settings

_MIB = 1 << 20
#: Settings by the option that they set, except for ONNX files.
_SETTINGS = {
    "network": "network",
    "pretrained": "pretrained_backbone",
    "miss_cost": "miss_cost",
    "false_alarms": "false_alarms",
}


def training_request(settings: Settings) -> TrainingRequest:
    """Return the options that `settings` give for a training; other services have their own.

    An ONNX file is checked, and a copy put where the service, which must be running, finds it.

    Raises:
        LfvSettingsError: The ONNX file is refused, or PyTorch is missing.
        ServiceNotStarted: The service is of a release without options of a training.
    """
    if not is_embedded(settings):
        return TrainingRequest()
    if settings.network and find_spec("torch") is None:
        raise LfvSettingsError(f"--network {NEEDS_TORCH}")
    given = {
        option: getattr(settings, name)
        for option, name in _SETTINGS.items()
        if name in settings.model_fields_set
    }
    for role, path in (("backbone", settings.backbone), ("detector", settings.detector)):
        if path is not None:
            given[role] = _store_checked_copy(settings, role, path)
    if given.keys() - training_options_taken(settings):
        raise ServiceNotStarted(
            "the service on this machine is of an earlier release, which accepts no options of a "
            "training; end the programs that use it (such as `lfv up`, with `lfv down`)"
        )
    return TrainingRequest(**given)


def _store_checked_copy(settings: Settings, role: str, path: Path) -> str:
    """Put a checked copy of an ONNX file into the service's folder; return the file's digest."""
    graphs = ServicePlaces(settings.service_home).graphs
    try:
        copy = accept_onnx_file(role, path, settings.graph_mib * _MIB, graphs)
    except OnnxFileRefused as error:
        raise LfvSettingsError(str(error)) from error
    return copy.stem.removeprefix(f"{role}-")
