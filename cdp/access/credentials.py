"""Write keys and tokens: 256 random bits each, kept only as a hash.

The hash needs no salt and no slow function, because a secret of 256 random bits cannot be guessed. Being looked up
by its hash, a secret is never compared byte by byte.
"""

from cdp.kit.canonical import sha256
from cdp.kit.ids import new_secret


def new_write_key() -> str:
    """A write key for one source; it can only ingest."""
    return new_secret("wk")


def new_token() -> str:
    """A bearer token for one person who works with the store."""
    return new_secret("cdp")


def hash_secret(secret: str) -> bytes:
    """What is stored and looked up in place of a write key or a token: 32 bytes."""
    return sha256(secret.encode("utf-8", "surrogatepass"))
