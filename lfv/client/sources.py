"""Read the files and objects that references name, within a size limit."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from lfv.client.s3 import S3Bucket, S3Connection
from lfv.client.stores import (
    BucketFolder,
    ObjectState,
    ObjectStore,
    OpenObject,
    file_state,
    open_local,
    translate_os_error,
)
from lfv.formats.conversion import as_png, within
from lfv.formats.errors import SourceError, SourceRefInvalid, SourceTooLarge, SourceUnavailable
from lfv.formats.fit import Fit
from lfv.formats.refs import FileRef, Ref, S3Ref, parse_ref

#: Above the service's 8 MB, so that the error of an image somewhat too large names its size.
DEFAULT_MAX_BYTES = 32 * 1024 * 1024

_READ_ATTEMPTS = 3


class SourceReader:
    """Reads `s3://`, `file://` and plain paths.

    `buckets` maps bucket names to local folders used instead; all other buckets are read from S3,
    at `s3_endpoint_url` if given. With `convert`, BMP, TIFF and WebP images are read as PNG. With
    `most_image_bytes`, larger images are re-encoded as JPEG. With `fit`, images of other dimensions
    are scaled or cropped. Safe to share between threads.
    """

    def __init__(
        self,
        buckets: Mapping[str, Path] | None = None,
        s3_endpoint_url: str | None = None,
        region: str | None = None,
        *,
        session: Any = None,
        convert: bool = False,
        most_image_bytes: int | None = None,
        fit: Fit | None = None,
    ) -> None:
        self.fit = fit
        self._convert = convert
        self._most_image_bytes = most_image_bytes
        self._folders = {
            name: BucketFolder(name, Path(root)) for name, root in (buckets or {}).items()
        }
        self._s3 = S3Connection(s3_endpoint_url, region, session=session)

    def with_fit(self, fit: Fit | None) -> Self:
        """Return a reader with another fit that shares this one's connections."""
        other = copy.copy(self)
        other.fit = fit
        return other

    def bucket(self, name: str) -> ObjectStore:
        """Return the store of a bucket: its local folder, or S3."""
        return self._folders.get(name) or S3Bucket(name, self._s3)

    def read_bytes(self, ref: str | Ref, *, limit: int = DEFAULT_MAX_BYTES) -> bytes:
        """Return the content of a file or object.

        Raises:
            SourceTooLarge: It has more than `limit` bytes; not read if the size is known.
            SourceError: Another subclass, if it cannot be read.
        """
        for attempt in range(1, _READ_ATTEMPTS + 1):
            try:
                with self.open(ref) as source:
                    if source.size is not None and source.size > limit:
                        raise _size_error(ref, limit, source.size)
                    data = _read(source, limit + 1)
            except SourceUnavailable:
                # The client has already retried opening; this retries a broken transfer.
                if attempt == _READ_ATTEMPTS:
                    raise
                continue
            if len(data) > limit:
                raise _size_error(ref, limit, None)
            return data
        raise AssertionError("unreachable")

    def read_image(self, ref: str | Ref) -> tuple[bytes, str | None]:
        """Return an image, and what it was converted from or None (see `as_recorded`).

        Raises:
            SourceError: One of its subclasses, if the image cannot be read.
            ImageError: One of its subclasses, if the image cannot be converted.
        """
        data, converted_from = self.read_unfitted(ref)
        fitted = larger = None
        if self.fit is not None:
            data, fitted = self.fit.image(data)
        if self._most_image_bytes is not None:
            data, larger = within(data, self._most_image_bytes)
        return data, ", ".join(filter(None, (converted_from, fitted, larger))) or None

    def read_unfitted(self, ref: str | Ref) -> tuple[bytes, str | None]:
        """Return an image or mask in its original dimensions, and its format if converted."""
        data = self.read_bytes(ref)
        return as_png(data) if self._convert else (data, None)

    def open(self, ref: str | Ref) -> OpenObject:
        """Open a file or object as a stream. Raises SourceError's subclasses."""
        parsed = parse_ref(ref) if isinstance(ref, str) else ref
        if isinstance(parsed, S3Ref):
            if not parsed.key or parsed.key.endswith("/"):
                raise SourceRefInvalid(
                    f"{parsed} names a bucket or prefix, not an object.", ref=str(ref)
                )
            return self.bucket(parsed.bucket).open(parsed.key)
        return open_local(Path(parsed.path), str(ref))

    def list(self, prefix: str | S3Ref) -> Iterator[S3Ref]:
        """Yield the objects below an `s3://bucket/prefix`, sorted by the bytes of their keys."""
        parsed = parse_ref(prefix) if isinstance(prefix, str) else prefix
        if not isinstance(parsed, S3Ref):
            raise SourceRefInvalid(f"{prefix} is not an s3://bucket/prefix.", ref=str(prefix))
        for key in self.bucket(parsed.bucket).list(parsed.key):
            yield S3Ref(parsed.bucket, key)

    def states(self, prefix: S3Ref) -> dict[str, ObjectState]:
        """Return the state of each object below an `s3://bucket/prefix`, by reference."""
        return {
            str(S3Ref(prefix.bucket, key)): state
            for key, state in self.bucket(prefix.bucket).states(prefix.key)
        }

    def state(self, ref: str) -> ObjectState | None:
        """Return the state of a local file; None if it does not exist.

        Of a file that cannot be read, the state has the error's code (`ObjectState.of_error`).
        """
        try:
            parsed = parse_ref(ref)
        except SourceError as error:
            return ObjectState.of_error(error)
        if isinstance(parsed, S3Ref):
            raise SourceRefInvalid(f"{ref} is not a file.", ref=ref)
        return file_state(parsed.path)

    def is_folder(self, ref: Ref) -> bool:
        """Return whether `ref` is a local folder. Raises SourceError if that cannot be checked."""
        if isinstance(ref, S3Ref):
            return False
        try:
            return os.path.isdir(ref.path)  # noqa: PTH112 - ref.path may hold what Path would alter
        except ValueError as error:
            raise translate_os_error(error, ref.path) from error

    def close(self) -> None:
        self._s3.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(source: OpenObject, most: int) -> bytes:
    """Read at most `most` bytes, allocating only the size that the store reports.

    `read(most)` would allocate and free megabytes for every image.
    """
    if source.size is None or source.size >= most:
        return source.stream.read(most)
    data = source.stream.read(source.size + 1)
    if len(data) > source.size:  # it has grown
        data += source.stream.read(most - len(data))
    return data


def _size_error(ref: str | Ref, limit: int, size: int | None) -> SourceError:
    has = f"has {size:,} bytes" if size is not None else "is too large"
    return SourceTooLarge(f"{ref} {has}; the limit is {limit:,} bytes.", ref=str(ref))


__all__ = ["DEFAULT_MAX_BYTES", "FileRef", "S3Ref", "SourceReader"]
