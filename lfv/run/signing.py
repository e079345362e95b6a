"""Signatures of people on what they decide: who, with which meaning, and a digest of the record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a record's content as JSON with sorted keys."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def signature(signed_by: str, meaning: str, record_sha256: str) -> dict[str, Any]:
    """Return the signature of a person whose password was just confirmed."""
    return {
        "signed_by": signed_by,
        "meaning": meaning,
        "signed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "record_sha256": record_sha256,
    }
