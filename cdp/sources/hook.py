"""Values of webhooks: how a platform signs what it delivers to a source, and what its secrets must be. Pure."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdp.schema.ids import SourceId

WINDOW_SECONDS_DEFAULT: Final = 300
WINDOW_SECONDS_MIN: Final = 30
WINDOW_SECONDS_MAX: Final = 3600
SECRETS_MAX: Final = 2
"""The present secret and, while it is replaced, the one before it."""
MAPPING_BYTES_MAX: Final = 128 * 1024

_STANDARD_PREFIX: Final = "whsec_"
_STANDARD_KEY_BYTES: Final = (24, 64)
_TEXT_CHARACTERS: Final = (16, 256)


class SignatureScheme(StrEnum):
    """How deliveries of a webhook are authenticated."""

    STANDARD = "standard"
    SHOPIFY = "shopify"
    STRIPE = "stripe"
    GITHUB = "github"
    WOOCOMMERCE = "woocommerce"
    BASIC = "basic"

    @property
    def signs_time(self) -> bool:
        """Whether the signature covers when a delivery was sent, so that a recorded one ends with the replay window."""
        return self in (SignatureScheme.STANDARD, SignatureScheme.STRIPE)


@dataclass(frozen=True, slots=True)
class Hook:
    """The webhook of a source, without its secrets. `mapping` is the text of its mapping file."""

    source_id: SourceId
    scheme: SignatureScheme
    mapping: str
    window_seconds: int
    secrets: int
    created_at: datetime
    changed_at: datetime


class UnusableSecret(ValueError):
    """A secret that a scheme cannot use; the text says what is expected."""


def secret_key(scheme: SignatureScheme, secret: str) -> bytes:
    """The bytes that a secret stands for. Raises `UnusableSecret`, whose text does not contain the secret."""
    if scheme is SignatureScheme.STANDARD:
        return _standard_key(secret)
    shortest, longest = _TEXT_CHARACTERS
    if not shortest <= len(secret) <= longest or not secret.isprintable():
        raise UnusableSecret(f"A secret has {shortest} to {longest} printable characters.")
    if scheme is SignatureScheme.BASIC:
        name, colon, password = secret.partition(":")
        if not colon or not name or len(password) < shortest:
            raise UnusableSecret(f"Give NAME:PASSWORD; the password has at least {shortest} characters.")
    return secret.encode()


def _standard_key(secret: str) -> bytes:
    shortest, longest = _STANDARD_KEY_BYTES
    try:
        text = secret.removeprefix(_STANDARD_PREFIX).rstrip("=")
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not shortest <= len(key) <= longest:
        raise UnusableSecret("A secret of Standard Webhooks is whsec_ and 24 to 64 bytes in standard Base64.")
    return key
