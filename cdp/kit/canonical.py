"""Canonical bytes: equal values have equal bytes on every machine (RFC 8785)."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value; raises ValueError for a value that JSON cannot represent."""
    return rfc8785.dumps(value)


def sha256(data: bytes) -> bytes:
    """The 32-byte SHA-256 digest."""
    return hashlib.sha256(data).digest()


def instant_text(instant: datetime) -> str:
    """An instant as RFC 3339 in UTC with microseconds, so that text order is time order."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
