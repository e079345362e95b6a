"""`lfv version`: versions of lfv and its libraries."""

from __future__ import annotations

import platform
from importlib import metadata

import typer

from lfv.cli import output
from lfv.cli.options import JsonOption

_LIBRARIES = ("prefect", "boto3", "SQLAlchemy", "Pillow", "numpy", "onnxruntime")


def register(app: typer.Typer) -> None:
    app.command("version")(version)


def version(*, as_json: JsonOption = False) -> None:
    """Print the versions of lfv, Python and the main libraries."""
    versions = {"lfv": own_version(), "python": platform.python_version()}
    versions |= {name.lower(): metadata.version(name) for name in _LIBRARIES}
    if as_json:
        output.show_json(versions)
    else:
        output.show_facts(versions)


def own_version() -> str:
    """Return the version of the installed project."""
    return metadata.version("lfv-pipeline")
