"""Objects of a source, and the claims of runs on new images on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectStamp:
    """An object as listed. Equal stamps mean equal content.

    `stamp` is an ETag, or a file's modification times.
    """

    size_bytes: int
    stamp: str


@dataclass(frozen=True, slots=True)
class ObjectClaim:
    """A claim on an object's content by a line of a run.

    `sha256` is empty if the object cannot be read.
    """

    line_number: int
    object_key: str
    seen: ObjectStamp
    sha256: str


@dataclass(frozen=True, slots=True)
class Retries:
    """Which errors leave an object new, so that a later run inspects it again.

    Errors in `mendable` do so for a limited number of attempts. Errors in `unasked`, where the
    model was never called, always do.
    """

    mendable: frozenset[str]
    unasked: frozenset[str]
    attempts: int


@dataclass(frozen=True, slots=True)
class KnownObjects:
    """Keys of unchanged objects that no further run has to inspect.

    `recorded` have a final record. `in_progress` are claimed by a live run, which may still fail.
    """

    recorded: frozenset[str]
    in_progress: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claims:
    """The objects that one part of a run on new images claims."""

    objects: Sequence[ObjectClaim]
    retries: Retries
