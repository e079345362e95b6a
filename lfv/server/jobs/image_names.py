"""Users' names for a training's images, which staging stores under digests of their content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from lfv.formats.manifest.groundtruth import SOURCE_REF
from lfv.formats.manifest.writing import ORIGINAL_REF


def user_name(line: str) -> tuple[str, str]:
    """Return the source-ref of a dataset's line, and the user's name for its image."""
    row = orjson.loads(line)
    ref, written = row[SOURCE_REF], row.get(ORIGINAL_REF)
    return ref, written if isinstance(written, str) and written else ref


def names_in(files: Iterable[Path]) -> dict[str, str]:
    """Return the users' names for all images in files of JSON lines, by source-ref."""
    lines = (
        line for file in files if file.is_file() for line in file.read_text("utf-8").split("\n")
    )
    return dict(user_name(line) for line in lines if line)


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Replace the source-refs in a message by the users' names for the images."""
    for ref, name in names.items():
        if ref != name:
            text = text.replace(ref, name)
    return text
