"""Rows for binary COPY, packed column by column.

A field is one column of all rows. The rows of a call are packed in memory in one piece, so pass tens of thousands
at a time, not millions. Only octets may be NULL (None); omit other columns where no value is known.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Final, NamedTuple, cast

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = -1
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(2000, 1, 1).toordinal()
_BLOCK_ROWS: Final = 512


class Field(NamedTuple):
    """One column: the `struct` format of a value, its size in bytes (None: it varies), and the values."""

    form: str
    size: int | None
    values: Iterable[object]


def bigints(values: Iterable[int]) -> Field:
    """A bigint column."""
    return Field("q", 8, values)


def integers(values: Iterable[int]) -> Field:
    """An int column."""
    return Field("i", 4, values)


def always_integer(value: int) -> Field:
    """An int column that is the same in every row."""
    return integers(repeat(value))


def smallints(values: Iterable[int]) -> Field:
    """A smallint column."""
    return Field("h", 2, values)


def always_smallint(value: int) -> Field:
    """A smallint column that is the same in every row."""
    return Field("h", 2, repeat(value))


def always_instant(value: datetime) -> Field:
    """A timestamptz column that is the same in every row; `value` is aware."""
    return bigints(repeat(_micros(value)))


def always_day(value: date) -> Field:
    """A date column that is the same in every row."""
    return integers(repeat(value.toordinal() - _EPOCH_DAY))


def always_text(value: str) -> Field:
    """A text column that is the same in every row."""
    return always_octets(value.encode())


def always_octets(value: bytes) -> Field:
    """A bytea column that is the same in every row."""
    return octets(repeat(value), len(value))


def instants(values: Iterable[datetime]) -> Field:
    """A timestamptz column of aware datetimes."""
    return bigints(map(_micros, values))


def octets(values: Iterable[bytes | None], size: int | None = None) -> Field:
    """A column of bytes as they are, such as text, bytea or uuid; `size` if all values have the same, which is faster."""
    return Field(f"{size}s", size, values)


def pack_rows(count: int, fields: Sequence[Field]) -> bytes:
    """`count` rows in the form of binary COPY, without header and trailer."""
    runs: list[list[Field]] = [[Field("h", None, repeat(len(fields)))]]
    pieces: list[list[bytes]] = []
    for field in fields:
        if field.size is not None:
            runs[-1].append(field)
            continue
        values = cast("list[bytes | None]", list(islice(field.values, count)))
        lengths = b"".join(_packed("i", [[_NULL if value is None else len(value) for value in values]], count))
        pieces += [_by_row(count, runs[-1]), _cut(lengths, 4), [value or b"" for value in values]]
        runs.append([])
    if not pieces:
        return b"".join(_blocks(count, runs[0])[1])
    if runs[-1]:
        pieces.append(_by_row(count, runs[-1]))
    return b"".join(chain.from_iterable(zip(*pieces, strict=True)))


def _micros(value: datetime) -> int:
    """Microseconds since 2000, as PostgreSQL counts them."""
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _by_row(count: int, run: Sequence[Field]) -> list[bytes]:
    """A run of columns of fixed size, row by row."""
    if not run:
        return [b""] * count
    width, blocks = _blocks(count, run)
    return _cut(b"".join(blocks), width)


def _cut(block: bytes, width: int) -> list[bytes]:
    return [block[at : at + width] for at in range(0, len(block), width)]


def _blocks(count: int, run: Sequence[Field]) -> tuple[int, Iterator[bytes]]:
    """The size of a row in bytes, and all rows in blocks."""
    form = ""
    columns: list[list[object]] = []
    for field in run:
        if field.size is not None:  # the length precedes every column except the number of fields
            form += "i"
            columns.append([field.size] * count)
        form += field.form
        columns.append(list(islice(field.values, count)))
    return struct.calcsize(f">{form}"), _packed(form, columns, count)


def _packed(form: str, columns: Sequence[Sequence[object]], count: int) -> Iterator[bytes]:
    flat: list[object] = [None] * (count * len(columns))
    for at, values in enumerate(columns):
        flat[at :: len(columns)] = values
    for start in range(0, count, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, count - start)
        pack = _block_of(form) if rows == _BLOCK_ROWS else struct.Struct(f">{form * rows}")
        yield pack.pack(*flat[start * len(columns) : (start + rows) * len(columns)])


@lru_cache(maxsize=32)
def _block_of(form: str) -> struct.Struct:
    return struct.Struct(f">{form * _BLOCK_ROWS}")
