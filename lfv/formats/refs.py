"""Parses and resolves references to files, such as `source-ref`.

A reference is `s3://bucket/key`, `file:///path` (percent-encoded) or a plain path, which is
relative to the manifest. A manifest in a bucket may only name objects in buckets, because it must
not make this machine read local files.

These functions access neither disk nor network.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from lfv.formats.errors import SourceOutside, SourceRefInvalid, SourceSchemeUnsupported

MAX_REF_CHARS = 4096
_MAX_KEY_BYTES = 1024  # S3's limit
_SCHEME = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://|(data|file|s3|mailto|javascript):", re.IGNORECASE
)
_BUCKET = re.compile(r"[0-9A-Za-z.\-_]{3,63}")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class S3Ref:
    """An object, or a prefix if `key` is empty or ends in `/`."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class FileRef:
    """A local file; `path` is as given, not resolved."""

    path: str

    def __str__(self) -> str:
        return self.path


Ref = S3Ref | FileRef


def is_s3(ref: str) -> bool:
    return ref[:5].lower() == "s3://"


def is_bucket_name(name: str) -> bool:
    """Whether a name can be the bucket of an `s3://` address."""
    return _BUCKET.fullmatch(name) is not None


def parse_ref(ref: str) -> Ref:
    """Parse a reference. Raises SourceRefInvalid or SourceSchemeUnsupported."""
    if not ref or ref.isspace():
        raise SourceRefInvalid("The reference is empty.", ref=ref)
    if len(ref) > MAX_REF_CHARS:
        raise SourceRefInvalid(
            f"The reference has {len(ref):,} characters; the limit is {MAX_REF_CHARS:,}.",
            ref=ref[:200],
        )
    if not ref.isprintable():  # rare, and not always wrong
        _check_characters(ref)
    match = _SCHEME.match(ref)
    if match is None:
        return FileRef(ref)
    scheme = (match[1] or match[2]).lower()
    if scheme == "s3":
        return _parse_s3(ref)
    if scheme == "file":
        return _parse_file(ref)
    raise SourceSchemeUnsupported(
        f"The reference starts with {scheme}:, but only s3://, file:// and paths are supported.",
        ref=ref,
    )


def _check_characters(ref: str) -> None:
    if _CONTROL.search(ref):
        raise SourceRefInvalid("The reference contains a control character.", ref=ref)
    try:
        ref.encode()
    except UnicodeEncodeError:
        raise SourceRefInvalid("The reference is not valid Unicode.", ref=ref) from None


def resolve_ref(ref: str, base: Ref | None) -> Ref:
    """Resolve a reference in a manifest whose folder or prefix is `base`.

    With None as the base, only `s3://` is allowed. Raises SourceRefInvalid,
    SourceSchemeUnsupported, and SourceOutside for a reference that leaves the manifest's bucket.
    """
    parsed = parse_ref(ref)
    if isinstance(parsed, S3Ref):
        if not parsed.key or parsed.key.endswith("/"):
            raise SourceRefInvalid(
                "The reference names a bucket or prefix, not an object.", ref=ref
            )
        return parsed
    if base is None:
        raise SourceSchemeUnsupported("The reference is not an s3:// address.", ref=ref)
    if _WINDOWS.match(parsed.path):
        raise SourceRefInvalid(
            "The reference is a Windows path; use a path relative to the manifest.",
            ref=ref,
        )
    if "\\" in parsed.path and not parsed.path.startswith("/"):  # written on Windows
        parsed = FileRef(parsed.path.replace("\\", "/"))
    if isinstance(base, FileRef):
        path = parsed.path
        return FileRef(path if path.startswith("/") else f"{base.path.rstrip('/')}/{path}")
    if ref.lower().startswith("file:") or parsed.path.startswith("/"):
        raise SourceOutside(
            "The reference names a local file, but its manifest is in a bucket.", ref=ref
        )
    key = posixpath.normpath(posixpath.join(base.key, parsed.path))
    if key == ".." or key.startswith("../"):
        raise SourceOutside("The reference points outside the bucket of its manifest.", ref=ref)
    return S3Ref(base.bucket, key)


def parent_of(ref: Ref) -> Ref:
    """Return the folder or prefix of a manifest, the base of its references."""
    if isinstance(ref, S3Ref):
        head, slash, _ = ref.key.rpartition("/")
        return S3Ref(ref.bucket, head + slash)
    return FileRef(os.path.dirname(os.path.abspath(ref.path)))  # noqa: PTH100, PTH120


def _parse_s3(ref: str) -> S3Ref:
    if not is_s3(ref):
        raise SourceRefInvalid("The reference is not of the form s3://bucket/key.", ref=ref)
    bucket, _, key = ref[5:].partition("/")
    if not is_bucket_name(bucket):
        raise SourceRefInvalid("The reference has no valid bucket name.", ref=ref)
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise SourceRefInvalid(f"The key is longer than {_MAX_KEY_BYTES} bytes.", ref=ref)
    return S3Ref(bucket, key)


def _parse_file(ref: str) -> FileRef:
    try:
        parts = urlsplit(ref)
    except ValueError:
        raise SourceRefInvalid("The reference is not a valid file:// address.", ref=ref) from None
    if not ref.lower().startswith("file:/") or parts.netloc not in ("", "localhost"):
        raise SourceRefInvalid(
            "The reference names a file on another machine, or is not file:///path.", ref=ref
        )
    written = ref[len("file:") :].removeprefix("//").removeprefix("localhost")
    try:
        path = unquote(written, errors="strict")
    except UnicodeDecodeError:
        path = ""
    if not path.startswith("/") or path == "/" or _CONTROL.search(path):
        raise SourceRefInvalid("The reference is not a valid file:///path.", ref=ref)
    return FileRef(path)
