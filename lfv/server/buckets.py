"""Objects in buckets: folders used as buckets, and S3 for all others.

A key cannot leave its folder: each component is opened relative to its parent and must not be a
symbolic link, and only regular files are read.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from lfv.formats.refs import is_bucket_name
from lfv.server.errors import BucketError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def join_key(prefix: str | None, name: str) -> str:
    """Join a prefix, with or without a slash at its end, and a name."""
    prefix = prefix or ""
    return f"{prefix}{name}" if not prefix or prefix.endswith("/") else f"{prefix}/{name}"


class _Bucket(Protocol):
    def open(self, key: str, version: str | None) -> IO[bytes]: ...
    def write(self, key: str, data: bytes | Path) -> None: ...


class Buckets:
    """Reads and writes objects. Every method raises BucketError, which names the object."""

    def __init__(
        self, folders: Mapping[str, Path], *, s3: bool = True, s3_endpoint_url: str | None = None
    ) -> None:
        self._folders = {name: _FolderBucket(folder) for name, folder in folders.items()}
        self._s3 = _S3(s3_endpoint_url) if s3 else None

    def is_folder(self, bucket: str) -> bool:
        """Whether a folder is used as the bucket, so that reads need no network."""
        return bucket in self._folders

    def check_key(self, bucket: str, key: str) -> None:
        """Raise BucketError for a key that no object in the bucket can have."""
        if bucket in self._folders:
            with _translate_errors(bucket, key):
                _components(key)

    @contextmanager
    def open(self, bucket: str, key: str, version: str | None = None) -> Iterator[OpenObject]:
        with _translate_errors(bucket, key):
            file = self._bucket(bucket).open(key, version)
        try:
            yield OpenObject(file, bucket, key)
        finally:
            file.close()

    def read(self, bucket: str, key: str, limit: int) -> bytes:
        """Return an object's bytes. Raises BucketError if there are more than ``limit``."""
        with self.open(bucket, key) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise BucketError(f"s3://{bucket}/{_short(key)}: larger than {limit} bytes")
        return data

    def write(self, bucket: str, key: str, data: bytes | Path) -> None:
        """Write bytes or a file's content. Readers see the old or the complete new object."""
        with _translate_errors(bucket, key):
            self._bucket(bucket).write(key, data)

    def _bucket(self, name: str) -> _Bucket:
        if name in self._folders:
            return self._folders[name]
        if self._s3 is None:
            raise BucketError("there is no such bucket, and S3 is disabled")
        if not is_bucket_name(name):
            raise BucketError("the bucket name is invalid")
        return self._s3.bucket(name)


class OpenObject:
    """An object's content as a stream. The connection may break while it is read."""

    def __init__(self, file: IO[bytes], bucket: str, key: str) -> None:
        self._file = file
        self._bucket = bucket
        self._key = key

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes. Raises BucketError."""
        with _translate_errors(self._bucket, self._key):
            return self._file.read(size)


class _FolderBucket:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, key: str, version: str | None) -> IO[bytes]:
        if version is not None:
            raise BucketError("a folder has no object versions")
        with self._parent(key, create=False) as (parent, name):
            descriptor = os.open(name, _READ, dir_fd=parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BucketError("not a file")
        return os.fdopen(descriptor, "rb")

    def write(self, key: str, data: bytes | Path) -> None:
        with self._parent(key, create=True) as (parent, name):
            temporary = f".{secrets.token_hex(8)}.part"
            descriptor = os.open(temporary, _CREATE, 0o644, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        with data.open("rb") as source:
                            while chunk := source.read(1 << 20):
                                file.write(chunk)
                os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=parent)
                raise

    @contextmanager
    def _parent(self, key: str, *, create: bool) -> Iterator[tuple[int, str]]:
        """Open the folder that holds the key. Yield its descriptor and the key's last component."""
        *folders, name = _components(key)
        # The operator chose the root, which may be a link.
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=descriptor)
                deeper = os.open(folder, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor, name
        finally:
            os.close(descriptor)


def _components(key: str) -> list[str]:
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise BucketError("the key cannot be a file's path")
    return parts


class _S3:
    """One client for all buckets, created at the first use."""

    def __init__(self, endpoint_url: str | None) -> None:
        self._endpoint_url = endpoint_url
        self._client: Any = None

    def bucket(self, name: str) -> _S3Bucket:
        if self._client is None:
            import boto3
            from botocore.config import Config

            addressing = "path" if self._endpoint_url else "auto"
            self._client = boto3.Session().client(
                "s3",
                endpoint_url=self._endpoint_url,
                config=Config(
                    connect_timeout=5,
                    read_timeout=20,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    s3={"addressing_style": addressing},
                ),
            )
        return _S3Bucket(self._client, name)


class _S3Bucket:
    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def open(self, key: str, version: str | None) -> IO[bytes]:
        arguments = {} if version is None else {"VersionId": version}
        body: IO[bytes] = self._client.get_object(Bucket=self._name, Key=key, **arguments)["Body"]
        return body

    def write(self, key: str, data: bytes | Path) -> None:
        if isinstance(data, bytes):
            self._client.put_object(Bucket=self._name, Key=key, Body=data)
        else:
            from boto3.s3.transfer import TransferConfig

            # Without boto3's own threads, which the interpreter would join when it exits.
            config = TransferConfig(use_threads=False)
            self._client.upload_file(str(data), self._name, key, Config=config)


@contextmanager
def _translate_errors(bucket: str, key: str) -> Iterator[None]:
    """Turn errors of files and of S3 into BucketError, which names the object."""
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"s3://{bucket}/{_short(key)}"
    try:
        yield
    except BucketError as error:
        raise BucketError(f"{where}: {error}") from error
    except FileNotFoundError as error:
        raise BucketError(f"{where}: not found") from error
    except OSError as error:
        raise BucketError(f"{where}: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have, such as a lone surrogate
        raise BucketError(f"{where}: the key cannot be a file's path") from error
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        text = "not found" if code in ("NoSuchKey", "NoSuchBucket", "404") else str(error)
        raise BucketError(f"{where}: {text}") from error
    except BotoCoreError as error:
        raise BucketError(f"{where}: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("boto3", "s3transfer", "urllib3"):
            raise BucketError(f"{where}: {error}") from error
        raise


def _short(text: str) -> str:
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else f"{text[:200]}…"
