"""SQL of link tables: edges as recorded steps."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class NewEdge(NamedTuple):
    """A row of identity.edge, the stronger identifier first."""

    sequence: int
    identifier_id: int
    other_identifier_id: int
    source_id: int
    received_at: datetime


def insert_edges(tx: Transaction, rows: Sequence[NewEdge]) -> None:
    """Append edges to the recorded sequence."""
    if rows:
        tx.copy(
            "identity.edge",
            ("sequence", "identifier_id", "other_identifier_id", "source_id", "received_at"),
            ("int8", "int8", "int8", "int4", "timestamptz"),
            rows,
        )


def edges_of(tx: Transaction, sequences: Collection[int]) -> dict[int, tuple[int, datetime]]:
    """Source and instant of the edges among these steps."""
    rows = tx.bulk(
        "SELECT sequence, source_id, received_at FROM identity.edge WHERE sequence = ANY(%(sequences)s::bigint[])",
        {"sequences": list(sequences)},
    )
    return {row[0]: (row[1], row[2]) for row in rows}
