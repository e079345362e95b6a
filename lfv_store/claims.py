"""The objects of a source that a run over new images claims, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectStamp:
    """What a listing says of an object: the same stamp means the same content.

    `stamp` is an ETag, or the times of the last change of a file.
    """

    size_bytes: int
    stamp: str


@dataclass(frozen=True, slots=True)
class ObjectClaim:
    """A line of a run, and the content that is to be inspected there.

    `sha256` is empty for an object that cannot be read.
    """

    line_number: int
    object_key: str
    seen: ObjectStamp
    sha256: str


@dataclass(frozen=True, slots=True)
class Retries:
    """Which errors of an inspection leave its object new for later runs.

    Those with a code in `mendable` do until so many attempts have failed; those in `unasked`,
    where the model was not asked, always do.
    """

    mendable: frozenset[str]
    unasked: frozenset[str]
    attempts: int


@dataclass(frozen=True, slots=True)
class Claims:
    """The objects of a stretch of a run over new images alone."""

    objects: Sequence[ObjectClaim]
    retries: Retries
