"""Keyed hashes: pseudonyms of identifiers under separate domains, and the plain hashes that protocols use.

A pseudonym is HMAC-SHA-256(key(domain, type, version), type || 0x00 || normalized value). The key of a type is
derived from the domain's root key by HKDF-SHA-256, so hashes of one domain or type cannot be related to those of another.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, NewType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Domain = NewType("Domain", str)
"""A pseudonymization domain; its text is the stem of the names of its root keys."""

GRAPH: Final = Domain("pseudonym/graph")
SUPPRESSION: Final = Domain("suppression")
DUPLICATES: Final = Domain("duplicates")
ANCHOR: Final = Domain("anchor")


def destination(name: str) -> Domain:
    """The domain of the pseudonyms that one destination receives."""
    return Domain(f"destination/{name}")


class KeyedHash:
    """All keyed hashes under one root key. Contexts are prepared once per type and copied for each value."""

    def __init__(self, root_key: bytes) -> None:
        self._root_key = root_key
        self._contexts: dict[str, HMAC] = {}

    def of(self, kind: str, value: bytes) -> bytes:
        """The 32-byte keyed hash of a value of this type."""
        context = self._contexts.get(kind)
        if context is None:
            context = self._contexts[kind] = self._prepared(kind)
        copied = context.copy()
        copied.update(value)
        return copied.finalize()

    def of_many(self, kind: str, values: Iterable[bytes]) -> list[bytes]:
        """The keyed hashes of values of one type, in order."""
        context = self._contexts.get(kind)
        if context is None:
            context = self._contexts[kind] = self._prepared(kind)
        digests = []
        for value in values:
            copied = context.copy()
            copied.update(value)
            digests.append(copied.finalize())
        return digests

    def _prepared(self, kind: str) -> HMAC:
        context = HMAC(type_key(self._root_key, kind), hashes.SHA256())
        context.update(kind.encode() + b"\0")
        return context


def type_key(root_key: bytes, kind: str) -> bytes:
    """The key of one identifier type, derived from a domain's root key."""
    info = b"cdp/pseudonym/v1\0" + kind.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(root_key)


class HashedForm(NamedTuple):
    """A plain hash that a protocol may send for an identifier; stored only as a keyed hash under the name of the form."""

    name: str
    digest: bytes


def _digits(value: str) -> str:
    return "".join(symbol for symbol in value if symbol in "0123456789")


def _last_ten_digits(value: str) -> str:
    return _digits(value)[-10:]


def _as_is(value: str) -> str:
    return value


def _plain_hash(algorithm: str, text: str) -> bytes:
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).digest()


_EXTENSION: Final = ";ext="
_FORMS: Final[Mapping[str, Mapping[str, tuple[str, Callable[[str], str]]]]] = {
    "email": {
        "email.md5": ("md5", _as_is),
        "email.sha1": ("sha1", _as_is),
        "email.sha256": ("sha256", _as_is),
    },
    "phone": {
        "phone.md5": ("md5", _as_is),
        "phone.sha1": ("sha1", _as_is),
        "phone.sha256": ("sha256", _as_is),
        "phone.digits.md5": ("md5", _digits),
        "phone.digits.sha1": ("sha1", _digits),
        "phone.digits.sha256": ("sha256", _digits),
        "phone.drop": ("sha256", _last_ten_digits),
    },
}


def hashed_forms(kind: str, value: str) -> tuple[HashedForm, ...]:
    """Every form in which a protocol may send this normalized identifier; none for types other than e-mail and phone.

    E-mail: MD5, SHA-1 and SHA-256 of the address (California DROP sends the SHA-256). Phone: the same of the E.164
    form with and without its plus sign, and the SHA-256 of the last ten digits that DROP sends. A number with an
    extension has none, because the hash of the number alone names other people.
    """
    if _EXTENSION in value and kind == "phone":
        return ()
    forms = _FORMS.get(kind, {})
    return tuple(HashedForm(name, _plain_hash(algorithm, shape(value))) for name, (algorithm, shape) in forms.items())


def names_of_forms(kind: str, protocol: str) -> tuple[str, ...]:
    """The forms under which a received hash may be stored; `protocol` is `md5`, `sha1`, `sha256` or `drop`."""
    forms = _FORMS.get(kind, {})
    if protocol == "drop":
        return tuple(name for name in ("email.sha256", "phone.drop") if name in forms)
    return tuple(name for name in forms if name.endswith(f".{protocol}"))
