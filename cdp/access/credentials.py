"""Write keys and tokens: 256 random bits each, of which only a hash is stored.

The hash needs no salt and no slow function, because a secret of 256 random bits cannot be guessed. A secret is looked up
by its hash and never compared byte by byte.
"""

from cdp.kit.canonical import sha256
from cdp.kit.ids import new_secret


def new_write_key() -> str:
    """A new write key for one source."""
    return new_secret("wk")


def new_token() -> str:
    """A new bearer token for one person who works with the store."""
    return new_secret("cdp")


def hash_secret(secret: str) -> bytes:
    """The SHA-256 by which a write key or a token is stored and looked up: 32 bytes."""
    return sha256(secret.encode("utf-8", "surrogatepass"))
