"""Sealing: authenticated encryption of one value for one place, under one key.

An envelope is one version byte (1: AES-256-GCM), 12 random bytes of nonce, then ciphertext and tag. Table, column
and row are authenticated with it, so that a sealed value copied to another place cannot be opened there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes

KEY_BYTES: Final = 32
WRAPPED_BYTES: Final = 1 + 12 + KEY_BYTES + 16

_NONCE_BYTES = 12
_VERSION = b"\x01"
_OVERHEAD = len(_VERSION) + _NONCE_BYTES + 16

RowId = int | bytes


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values."""

    table: str
    column: str
    _prefix: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_prefix", f"{self.table}\0{self.column}\0".encode())

    def at(self, row: RowId) -> bytes:
        """The associated data that is authenticated with the value of this row."""
        return self._prefix + (b"i" + row.to_bytes(8, "big") if isinstance(row, int) else b"b" + row)


def seal_many(place: SealedColumn, items: Iterable[tuple[bytes, RowId, bytes]]) -> list[bytes]:
    """Seal (key, row, plaintext) for one place; envelopes come in the same order."""
    triples = list(items)
    nonces = random_bytes(_NONCE_BYTES * len(triples))
    ciphers: dict[bytes, AESGCM] = {}
    envelopes = []
    end = 0
    for key, row, plaintext in triples:
        cipher = ciphers.get(key)
        if cipher is None:
            cipher = ciphers[key] = AESGCM(key)
        begin, end = end, end + _NONCE_BYTES
        nonce = nonces[begin:end]
        envelopes.append(_VERSION + nonce + cipher.encrypt(nonce, plaintext, place.at(row)))
    return envelopes


def seal_each(
    place: SealedColumn, keys: Sequence[bytes], rows: Sequence[int], *, plaintexts: Iterable[bytes]
) -> list[bytes]:
    """Seal many values of one place, each under its own key; faster than `seal_many`."""
    nonces = random_bytes(_NONCE_BYTES * len(keys))
    before = place.at(0)[:-8]
    envelopes = []
    end = 0
    for key, row, plaintext in zip(keys, rows, plaintexts, strict=True):
        begin, end = end, end + _NONCE_BYTES
        nonce = nonces[begin:end]
        sealed = AESGCM(key).encrypt(nonce, plaintext, before + row.to_bytes(8, "big"))
        envelopes.append(_VERSION + nonce + sealed)
    return envelopes


def open_many(place: SealedColumn, items: Iterable[tuple[bytes, RowId, bytes]]) -> list[bytes]:
    """Open (key, row, envelope) of one place; plaintexts come in the same order.

    Raises the fault `seal_broken` for an envelope that was altered, moved, or sealed under another key.
    """
    ciphers: dict[bytes, AESGCM] = {}
    opened = []
    for key, row, envelope in items:
        cipher = ciphers.get(key)
        if cipher is None:
            cipher = ciphers[key] = AESGCM(key)
        opened.append(_open(cipher, place.at(row), envelope))
    return opened


class Wrapper:
    """Wraps keys under one key, each for one name or number."""

    def __init__(self, key: bytes, label: str) -> None:
        self._cipher = AESGCM(key)
        self._label = label.encode() + b"\0"

    def wrap_many(self, items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Wrap (context, key)."""
        triples = list(items)
        nonces = random_bytes(_NONCE_BYTES * len(triples))
        wrapped = []
        for at, (context, key) in enumerate(triples):
            nonce = nonces[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
            wrapped.append(_VERSION + nonce + self._cipher.encrypt(nonce, key, self._label + context))
        return wrapped

    def unwrap_many(self, items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Unwrap (context, wrapped). Raises the fault `seal_broken`."""
        return [_open(self._cipher, self._label + context, wrapped) for context, wrapped in items]


def _open(cipher: AESGCM, place: bytes, envelope: bytes) -> bytes:
    if envelope[:1] != _VERSION or len(envelope) < _OVERHEAD:
        raise _broken("The envelope is truncated, or of a version unknown to this program.")
    try:
        return cipher.decrypt(envelope[1 : 1 + _NONCE_BYTES], envelope[1 + _NONCE_BYTES :], place)
    except InvalidTag:
        raise _broken("It was altered, copied to another place, or sealed under another key.") from None


def _broken(detail: str) -> Fault:
    return Fault("seal_broken", "A sealed value cannot be opened", detail, status=500)
