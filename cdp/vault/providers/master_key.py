"""The master key: parsed from text, and compared by its check value."""

import base64
import hashlib
import hmac
from typing import Final

from cdp.kit.errors import Fault
from cdp.vault.seal import KEY_BYTES

CHECK_BYTES: Final = 16


def parse_master_key(text: str) -> bytes:
    """Read a master key in base64 or hexadecimal. Raises the fault `master_key_malformed`."""
    stripped = text.strip()
    try:
        key = bytes.fromhex(stripped) if len(stripped) == 2 * KEY_BYTES else base64.b64decode(stripped, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Fault(
            "master_key_malformed",
            "The master key is malformed",
            "A master key is 32 random bytes in base64 (44 characters) or hexadecimal (64 characters).",
            status=500,
        )
    return key


def check_value(key: bytes, name: str) -> bytes:
    """16 bytes that identify a key of this name without revealing it."""
    return hmac.digest(key, b"cdp/key-check/v1\0" + name.encode(), hashlib.sha256)[:CHECK_BYTES]


def wrong_master_key(detail: str) -> Fault:
    """The fault of a master key that belongs to another database."""
    return Fault(
        "wrong_master_key",
        "The master key belongs to another database",
        f"{detail} Start with the master key with which this database was created.",
        status=500,
    )
