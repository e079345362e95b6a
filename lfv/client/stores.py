"""Access to local files, the interface of buckets, and folders used as buckets.

Buckets behind S3 are in `lfv.client.s3`. All failures are subclasses of SourceError.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from lfv.formats.errors import (
    SourceError,
    SourceForbidden,
    SourceNotAFile,
    SourceNotFound,
    SourceOutside,
    SourceRefInvalid,
    SourceUnavailable,
)
from lfv.formats.refs import S3Ref

_BUFFER = 1024 * 1024


def absolute_source(source: str) -> str:
    """Return a path as an absolute one: later readers of a record may be in another folder."""
    return source if "://" in source else str(Path(source).absolute())


@dataclass(frozen=True)
class OpenObject:
    """A stream to read, and its size in bytes if known. Close it, or use `with`."""

    stream: io.BufferedReader
    size: int | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@dataclass(frozen=True)
class ObjectState:
    """The state of an object, known without reading it.

    Attributes:
        size_bytes: The size of the object.
        stamp: An ETag, or the times of a file's last changes. It differs after each write.
        changed_at: Time of a file's last change, in seconds since the epoch; None in stores where
            objects only ever appear complete.
    """

    size_bytes: int
    stamp: str
    changed_at: float | None = None

    @classmethod
    def of_file(cls, facts: os.stat_result) -> Self:
        return cls(
            facts.st_size,
            f"{facts.st_mtime_ns} {facts.st_ctime_ns}",
            max(facts.st_mtime, facts.st_ctime),
        )

    @classmethod
    def of_error(cls, error: SourceError) -> Self:
        """Return the state of an object whose state cannot be read; reading it gives the error."""
        return cls(0, error.code)


class ObjectStore(Protocol):
    """One bucket."""

    def open(self, key: str) -> OpenObject:
        """Open an object. Raises SourceError."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys with `prefix`, in the order of their UTF-8 bytes. Raises SourceError."""

    def states(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        """Yield the keys of `list` with the states of their objects. Raises SourceError."""

    def size_of(self, key: str) -> int | None:
        """Return the size of an object in bytes, None if it does not exist. Raises SourceError."""

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object atomically. Raises SourceError."""


class TranslatedReads(io.RawIOBase):
    """A raw stream over `read(n) -> bytes` that turns failures into SourceErrors."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        close: Callable[[], object],
        translate: Callable[[Exception], SourceError | None],
    ) -> None:
        super().__init__()
        self._read = read
        self._close = close
        self._translate = translate

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._read(len(buffer))
        except Exception as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                self._close()
        super().close()

    def buffer(self, size: int | None = None) -> io.BufferedReader:
        """Return this stream with a buffer that is not larger than `size` bytes need."""
        return io.BufferedReader(self, _BUFFER if size is None else min(_BUFFER, size + 1))


# -- local files ----------------------------------------------------------------------------------


def open_local(path: Path, ref: str) -> OpenObject:
    """Open a regular file; never block on a named pipe or read a device. Raises SourceError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise translate_os_error(error, ref) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise SourceNotAFile(f"{ref} is {_kind_of(facts.st_mode)}, not a file.", ref=ref)
    raw = io.FileIO(descriptor, "rb")
    stream = TranslatedReads(
        raw.read,
        raw.close,
        lambda error: translate_os_error(error, ref) if isinstance(error, OSError) else None,
    )
    return OpenObject(stream.buffer(facts.st_size), facts.st_size)


def file_state(path: str) -> ObjectState | None:
    """Return the state of a file, None if it does not exist; if unreadable, that of the error."""
    try:
        return ObjectState.of_file(os.stat(path))  # noqa: PTH116 - Path would alter odd names
    except (OSError, ValueError) as error:
        translated = translate_os_error(error, path)
        return None if isinstance(translated, SourceNotFound) else ObjectState.of_error(translated)


def translate_os_error(error: OSError | ValueError, ref: str) -> SourceError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENOTDIR):
        return SourceNotFound(f"{ref} does not exist.", ref=ref)
    if number in (errno.EACCES, errno.EPERM):
        return SourceForbidden(f"This user has no permission to read {ref}.", ref=ref)
    if number in (errno.ENXIO, errno.ENODEV, errno.EISDIR):
        return SourceNotAFile(f"{ref} is not a file.", ref=ref)
    if number in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ) or number is None:
        return SourceRefInvalid(f"{ref[:200]} does not name a file.", ref=ref)
    return SourceUnavailable(f"{ref} cannot be read now: {os.strerror(number)}.", ref=ref)


def _kind_of(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return name
    return "something else"


# -- a folder in place of a bucket ----------------------------------------------------------------


class BucketFolder:
    """A folder, `root`, in place of bucket `name`. Neither `..` nor symlinks lead out of it."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root.resolve()

    def open(self, key: str) -> OpenObject:
        return open_local(self._path(key), str(S3Ref(self.name, key)))

    def list(self, prefix: str) -> Iterator[str]:
        if not self.root.is_dir():
            raise SourceNotFound(
                f"The folder of bucket {self.name} does not exist: {self.root}.",
                ref=str(S3Ref(self.name, prefix)),
            )
        return self._walk(self.root, "", prefix)

    def states(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        for key in self.list(prefix):
            try:
                path = self._path(key)
            except SourceError as error:
                yield key, ObjectState.of_error(error)
                continue
            state = file_state(str(path))
            if state is not None:
                yield key, state

    def size_of(self, key: str) -> int | None:
        try:
            facts = self._path(key).stat()
        except (OSError, ValueError) as error:
            translated = translate_os_error(error, str(S3Ref(self.name, key)))
            if isinstance(translated, SourceNotFound):
                return None
            raise translated from error
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None

    def put(self, key: str, content: bytes | Path) -> None:
        ref = str(S3Ref(self.name, key))
        target = self._path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".put-", dir=target.parent) as folder:
                fresh = Path(folder) / "object"
                if isinstance(content, bytes):
                    fresh.write_bytes(content)
                else:
                    link_or_copy(content, fresh)
                fresh.replace(target)
        except OSError as error:
            raise translate_os_error(error, ref) from error

    def _path(self, key: str) -> Path:
        ref = str(S3Ref(self.name, key))
        if "\x00" in key or any(part in ("", ".", "..") for part in key.split("/")):
            raise SourceRefInvalid(
                f"{ref} cannot be a path in a folder: its key has an empty, . or .. segment.",
                ref=ref,
            )
        try:
            path = (self.root / key).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise SourceRefInvalid(f"{ref[:200]} does not name a file.", ref=ref) from error
        if not path.is_relative_to(self.root):
            raise SourceOutside(f"{ref} points outside its bucket's folder.", ref=ref)
        return path

    def _walk(self, folder: Path, base: str, prefix: str) -> Iterator[str]:
        ref = str(S3Ref(self.name, base))
        try:
            with os.scandir(folder) as entries:
                # S3 sorts keys by their bytes, so a folder is sorted by its name with a slash.
                found = sorted(
                    (
                        entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                        for entry in entries
                        if not entry.name.startswith(".put-")
                    ),
                    key=os.fsencode,
                )
        except OSError as error:
            raise translate_os_error(error, ref) from error
        for name in found:
            key = base + name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / name[:-1], key, prefix)
            elif key.startswith(prefix):
                yield key


def link_or_copy(source: Path, target: Path) -> None:
    """Hard link a file, or copy it if the file system does not allow links."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
