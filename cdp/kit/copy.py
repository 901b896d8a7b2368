"""Binary COPY of packed rows in a transaction."""

from collections.abc import Iterable, Sequence
from itertools import chain

from cdp.kit.db import Transaction
from cdp.kit.pg_binary.copying import _END, _SIGNATURE, Field, pack_rows


def copy_packed(tx: Transaction, table: str, columns: Sequence[str], *, count: int, fields: Sequence[Field]) -> None:
    """Append `count` rows with one binary COPY, or send nothing when `count` is 0; `table` is `schema.name`."""
    if count:
        tx.copy_bytes(table, columns, (_SIGNATURE + pack_rows(count, fields) + _END,))


def copy_pieces(tx: Transaction, table: str, columns: Sequence[str], *, pieces: Iterable[bytes]) -> None:
    """Append rows of `pack_rows` with one binary COPY; each piece is packed while the server processes the one before."""
    tx.copy_bytes(table, columns, chain((_SIGNATURE,), pieces, (_END,)))
