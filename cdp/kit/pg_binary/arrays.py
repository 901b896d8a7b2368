"""Arrays for set-based SQL, packed into PostgreSQL's binary form.

A packed array is passed to `Transaction.execute` like a list; None is NULL. The functions are named after their
elements, and each names the type of the parameter in the statement.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

_HEADER: Final = struct.Struct(">iiIii").pack
_WORD: Final = struct.Struct(">q").pack
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(2000, 1, 1).toordinal()


class Packed(bytes):
    """The binary form of an array of one type."""


class _Bigints(Packed):
    pass


class _Integers(Packed):
    pass


class _Doubles(Packed):
    pass


class _Instants(Packed):
    pass


class _Days(Packed):
    pass


class _Uuids(Packed):
    pass


class _Texts(Packed):
    pass


class _Blobs(Packed):
    pass


class _Booleans(Packed):
    pass


_ELEMENTS: Final = {
    _Bigints: (20, 1016),
    _Integers: (23, 1007),
    _Doubles: (701, 1022),
    _Instants: (1184, 1185),
    _Days: (1082, 1182),
    _Uuids: (2950, 2951),
    _Texts: (25, 1009),
    _Blobs: (17, 1001),
    _Booleans: (16, 1000),
}
"""Object ids of element and array types; PostgreSQL never changes them."""


ARRAY_TYPES: Final = {kind: array_oid for kind, (_, array_oid) in _ELEMENTS.items()}
"""The object id of the array type of each packed form, for registration with the driver."""


def bigints(values: Sequence[int | None]) -> Packed:
    """A bigint[]."""
    return _words(_Bigints, values)


def integers(values: Sequence[int]) -> Packed:
    """An int[]; SQL casts it to smallint[] where the statement names that type."""
    return _fixed(_Integers, "ii", 4, values=values)


def doubles(values: Sequence[float]) -> Packed:
    """A float8[]."""
    return _fixed(_Doubles, "id", 8, values=values)


def instants(values: Sequence[datetime | None]) -> Packed:
    """A timestamptz[] of aware datetimes."""
    micros: list[int | None] = []
    for value in values:
        if value is None:
            micros.append(None)
        else:
            delta = value - _EPOCH
            micros.append((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
    return _words(_Instants, micros)


def days(values: Sequence[date]) -> Packed:
    """A date[]."""
    return _fixed(_Days, "ii", 4, values=[value.toordinal() - _EPOCH_DAY for value in values])


def uuids(values: Sequence[bytes]) -> Packed:
    """A uuid[] of values of 16 bytes."""
    return _variable(_Uuids, values)


def texts(values: Sequence[str | None]) -> Packed:
    """A text[]."""
    return _variable(_Texts, [None if value is None else value.encode() for value in values])


def blobs(values: Sequence[bytes | None]) -> Packed:
    """A bytea[]."""
    return _variable(_Blobs, values)


def booleans(values: Sequence[bool]) -> Packed:
    """A bool[]."""
    return _variable(_Booleans, [b"\x01" if value else b"\x00" for value in values])


def _words(kind: type[Packed], values: Sequence[int | None]) -> Packed:
    """Elements of eight bytes, or NULL."""
    whole = [value for value in values if value is not None]
    if len(whole) == len(values):
        return _fixed(kind, "iq", 8, values=whole)
    return _variable(kind, [None if value is None else _WORD(value) for value in values])


def _fixed(kind: type[Packed], form: str, size: int, *, values: Sequence[float]) -> Packed:
    """Elements of one size, each preceded by its length."""
    if not values:
        return kind(_head(kind, 0, has_null=False))
    flat: list[float] = [size] * (2 * len(values))
    flat[1::2] = values
    return kind(_head(kind, len(values), has_null=False) + struct.pack(">" + form * len(values), *flat))


def _variable(kind: type[Packed], values: Sequence[bytes | None]) -> Packed:
    """Elements of any size, or NULL."""
    lengths = struct.pack(f">{len(values)}i", *[-1 if value is None else len(value) for value in values])
    parts = [_head(kind, len(values), has_null=None in values)]
    for at, value in enumerate(values):
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(lengths[4 * at : 4 * at + 4])
            parts.append(value)
    return kind(b"".join(parts))


def _head(kind: type[Packed], count: int, *, has_null: bool) -> bytes:
    element_oid, _ = _ELEMENTS[kind]
    if not count:
        return struct.pack(">iiI", 0, 0, element_oid)
    return _HEADER(1, int(has_null), element_oid, count, 1)
