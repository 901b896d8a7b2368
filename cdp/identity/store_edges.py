"""SQL of link tables: edges as recorded steps."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from cdp.kit.db import Transaction


def insert_edges(tx: Transaction, rows: Iterable[tuple[int, int, int, int, datetime]]) -> None:
    """Append edges to the recorded sequence: its number, the stronger identifier, the other, source and instant."""
    tx.copy(
        "identity.edge",
        ("sequence", "identifier_id", "other_identifier_id", "source_id", "received_at"),
        ("int8", "int8", "int8", "int4", "timestamptz"),
        rows,
    )


def recorded(tx: Transaction, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these pairs, stronger identifier first, are recorded already."""
    rows = tx.bulk(
        """
        SELECT DISTINCT e.identifier_id, e.other_identifier_id
        FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS asked (identifier_id, other_identifier_id)
        JOIN identity.edge AS e USING (identifier_id, other_identifier_id)
        """,
        {"ones": [pair[0] for pair in pairs], "others": [pair[1] for pair in pairs]},
    )
    return {(row[0], row[1]) for row in rows}


def edges_of(tx: Transaction, sequences: Collection[int]) -> dict[int, tuple[int, datetime]]:
    """Source and instant of the edges among these steps."""
    rows = tx.bulk(
        "SELECT sequence, source_id, received_at FROM identity.edge WHERE sequence = ANY(%(sequences)s::bigint[])",
        {"sequences": list(sequences)},
    )
    return {row[0]: (row[1], row[2]) for row in rows}
