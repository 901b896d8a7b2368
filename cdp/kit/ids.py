"""Randomness, and the external form of random ids."""

import os
import secrets
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_LENGTH: Final = 13
_MASK: Final = (1 << 63) - 1


def new_id() -> int:
    """A random id between 1 and 2^63 - 1; it reveals nothing about its subject or its time."""
    return (int.from_bytes(os.urandom(8), "big") & _MASK) or 1


def new_ids(count: int) -> list[int]:
    """`count` random ids from one call to the system's generator."""
    block = os.urandom(8 * count)
    return [(int.from_bytes(block[at : at + 8], "big") & _MASK) or 1 for at in range(0, 8 * count, 8)]


def random_bytes(count: int) -> bytes:
    """`count` bytes suitable for salts and nonces."""
    return os.urandom(count)


def new_secret(prefix: str) -> str:
    """A 256-bit bearer secret such as a write key or a token, with a readable prefix."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def encode_id(prefix: str, number: int) -> str:
    """The external form of an id, for example `prf_0004zc8e6w1rk`: base 32, fixed length, no look-alikes."""
    symbols = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, 32)
        symbols.append(_ALPHABET[rest])
    return prefix + "_" + "".join(reversed(symbols))


def decode_id(prefix: str, text: str) -> int | None:
    """Read an external id; None when the text is not one with this prefix."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != _LENGTH or any(symbol not in _VALUES for symbol in body):
        return None
    number = 0
    for symbol in body:
        number = number * 32 + _VALUES[symbol]
    return number if 0 < number <= _MASK else None
