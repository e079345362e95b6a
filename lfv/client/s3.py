"""Buckets behind S3, at Amazon's or any other endpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from urllib3.exceptions import HTTPError

from lfv.client.api.credentials import is_without_credentials, refused_credentials
from lfv.client.stores import ObjectState, OpenObject, TranslatedReads
from lfv.formats.errors import (
    CredentialsRefused,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceRefInvalid,
    SourceUnavailable,
)
from lfv.formats.refs import S3Ref

_TRANSPORT = (
    BotocoreConnectionError,
    HTTPClientError,
    ResponseStreamingError,
    IncompleteReadError,
)
#: Errors that botocore raises or passes on, and its RuntimeError for credentials that stay expired.
_FAILURES = (BotoCoreError, ClientError, ValueError, RuntimeError)
_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound", "NoSuchVersion"})
_FORBIDDEN = frozenset(
    {
        "403",
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "Forbidden",
        "InvalidObjectState",  # archived to Glacier
    }
)
#: Error codes about the credentials, not about the object.
_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)


class S3Connection:
    """One client for all buckets, created on first use. Thread-safe."""

    def __init__(
        self,
        endpoint_url: str | None = None,
        region: str | None = None,
        *,
        session: Any = None,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._session = session
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        with self._lock:  # sessions are not thread-safe while they create a client
            if self._client is None:
                session = self._session or boto3.session.Session()
                self._client = session.client(
                    "s3",
                    endpoint_url=self._endpoint_url,
                    region_name=self._region or session.region_name or "us-east-1",
                    config=Config(
                        connect_timeout=5,
                        read_timeout=30,
                        retries={"mode": "standard", "total_max_attempts": 4},
                        max_pool_connections=32,
                        # At custom endpoints, bucket names do not resolve as host names.
                        s3={"addressing_style": "path"} if self._endpoint_url else None,
                    ),
                )
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


class S3Bucket:
    """The ObjectStore of bucket `name`."""

    def __init__(self, name: str, connection: S3Connection) -> None:
        self.name = name
        self._connection = connection

    def open(self, key: str) -> OpenObject:
        ref = str(S3Ref(self.name, key))
        try:
            answer = self._connection.client.get_object(Bucket=self.name, Key=key)
        except _FAILURES as error:
            raise translate(error, ref) from error
        body = answer["Body"]
        stream = TranslatedReads(body.read, body.close, lambda error: _translate_read(error, ref))
        return OpenObject(stream.buffer(), answer.get("ContentLength"))

    def list(self, prefix: str) -> Iterator[str]:
        return (entry["Key"] for entry in self._entries(prefix))

    def states(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        for entry in self._entries(prefix):
            yield entry["Key"], ObjectState(int(entry["Size"]), str(entry["ETag"]).strip('"'))

    def _entries(self, prefix: str) -> Iterator[Any]:
        ref = str(S3Ref(self.name, prefix))
        try:
            pages = self._connection.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix
            )
            for page in pages:
                yield from page.get("Contents", ())
        except _FAILURES as error:
            raise translate(error, ref) from error

    def size_of(self, key: str) -> int | None:
        ref = str(S3Ref(self.name, key))
        try:
            answer = self._connection.client.head_object(Bucket=self.name, Key=key)
        except _FAILURES as error:
            translated = translate(error, ref)
            if isinstance(translated, SourceNotFound):
                return None
            raise translated from error
        return int(answer["ContentLength"])

    def put(self, key: str, content: bytes | Path) -> None:
        ref = str(S3Ref(self.name, key))
        try:
            client = self._connection.client
            if isinstance(content, bytes):
                client.put_object(Bucket=self.name, Key=key, Body=content)
            else:
                with content.open("rb") as stream:
                    client.put_object(Bucket=self.name, Key=key, Body=stream)
        except _FAILURES as error:
            raise translate(error, ref) from error


def translate(error: Exception, ref: str) -> SourceError:
    """Translate a failure of boto3 for the object `ref`.

    Re-raises a RuntimeError that is not about credentials.
    """
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            return SourceNotFound(f"The bucket of {ref} does not exist.", ref=ref)
        if code in _MISSING or status == 404:
            return SourceNotFound(f"{ref} does not exist.", ref=ref)
        if code == "InvalidObjectState":
            return SourceForbidden(f"{ref} is archived; restore it before reading it.", ref=ref)
        if code in _CREDENTIALS:
            return CredentialsRefused(
                f"S3 does not accept the credentials for {ref} ({code}); renew them.", ref=ref
            )
        if code in _FORBIDDEN or status in (401, 403):
            return SourceForbidden(f"S3 refuses access to {ref} ({code}).", ref=ref)
        if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout", "Throttling"):
            return SourceUnavailable(f"S3 cannot return {ref} at the moment ({code}).", ref=ref)
        return SourceRefInvalid(f"S3 rejects the request for {ref} ({code}).", ref=ref)
    if is_without_credentials(error):
        return CredentialsRefused(
            f"There are no credentials to read {ref}; configure them, or map the bucket to a "
            "folder with --bucket.",
            ref=ref,
        )
    if refused_credentials(error):
        return CredentialsRefused(
            f"The credentials to read {ref} cannot be renewed ({_name(error)}); sign in again.",
            ref=ref,
        )
    if isinstance(error, RuntimeError):
        raise error
    if isinstance(error, _TRANSPORT):
        return SourceUnavailable(f"S3 does not answer for {ref} ({_name(error)}).", ref=ref)
    return SourceRefInvalid(
        f"The request to S3 for {ref} cannot be sent ({_name(error)}).", ref=ref
    )


def _translate_read(error: Exception, ref: str) -> SourceError | None:
    if isinstance(error, BotoCoreError | HTTPError | OSError):
        return SourceUnavailable(
            f"The connection to S3 was lost while reading {ref} ({_name(error)}).", ref=ref
        )
    return None


def _name(error: Exception) -> str:
    return type(error).__name__
